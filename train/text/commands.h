#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace condensed::train {

// What condensed-train does with texts. A program of its own: sentencepiece brings a copy of protobuf that
// the one libtorch is linked with stumbles over when both are in one process. All throw engine::InputError
// for what cannot be used.

/// A sentencepiece BPE model with byte fallback, from text files.
struct TokenizerOptions {
  std::vector<std::filesystem::path> texts;
  std::filesystem::path out;  // tokenizer.model to write
  int vocab_size = 4096;
  std::int64_t sentences = 500'000;             // lines drawn from the texts
  std::int64_t longest_line_bytes = 1'000'000;  // longer ones are left out
};
void run_tokenizer(const TokenizerOptions& options);

/// Texts, one after another, as a token file.
struct PrepareOptions {
  std::vector<std::filesystem::path> texts;
  std::filesystem::path tokenizer;
  std::filesystem::path out;
};
void run_prepare(const PrepareOptions& options);

}  // namespace condensed::train
