// condensed-train-text: the part of condensed-train that works on texts; condensed-train starts it.

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "train/text/commands.h"

namespace {

using namespace condensed::train;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

void add_tokenizer(CLI::App& app, TokenizerOptions& options) {
  CLI::App* const command = app.add_subcommand("tokenizer", "Train a sentencepiece tokenizer on texts");
  command->add_option("TEXT", options.texts, "Text files, UTF-8")->required();
  command->add_option("--out", options.out, "tokenizer.model to write")->required();
  command->add_option("--vocab-size", options.vocab_size, "Pieces, bytes and control tokens included")
      ->check(CLI::Range(320, 1'000'000))
      ->capture_default_str();
  command->add_option("--longest-line", options.longest_line_bytes, "Bytes; longer lines are left out")
      ->check(CLI::Range(100, 100'000'000))
      ->capture_default_str();
  command->add_option("--sentences", options.sentences, "Lines to draw from the texts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([&options] { run_tokenizer(options); });
}

void add_prepare(CLI::App& app, PrepareOptions& options) {
  CLI::App* const command = app.add_subcommand("prepare", "Turn texts into a file of tokens");
  command->add_option("TEXT", options.texts, "Text files, UTF-8, one after another")->required();
  command->add_option("--tokenizer", options.tokenizer, "tokenizer.model")->required();
  command->add_option("--out", options.out, "Token file to write")->required();
  command->callback([&options] { run_prepare(options); });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Tokenizers and token files for condensed-train.", "condensed-train");
  app.require_subcommand(1);
  TokenizerOptions tokenizer;
  PrepareOptions prepare;
  add_tokenizer(app, tokenizer);
  add_prepare(app, prepare);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  } catch (const std::exception& error) {
    std::cerr << "condensed-train: " << error.what() << std::endl;
    return kFailed;
  }
  return 0;
}
