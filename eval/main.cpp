// condensed-eval: what a model computes, offline. Tables or JSON on stdout, progress on stderr when it is a
// terminal.

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "eval/command_line.h"
#include "eval/commands.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

void print(const boost::json::object& report) {
  std::cout << boost::json::serialize(report) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace condensed::eval;
  CLI::App app(
      "Evaluate a model offline: tables or JSON on stdout, progress on stderr when it is a terminal.\n"
      "Exit codes: 0 done, 1 something given cannot be used, 2 usage.",
      "condensed-eval");
  app.set_version_flag("--version", "condensed " CONDENSED_VERSION);
  app.require_subcommand(1);
  LogitsOptions logits;
  PerplexityOptions perplexity;
  ThroughputOptions throughput;
  RecallOptions recall;
  PaperOptions paper;
  add_logits(app, logits)->callback([&] { print(run_logits(logits)); });
  add_perplexity(app, perplexity)->callback([&] { run_perplexity(perplexity); });
  add_throughput(app, throughput)->callback([&] {
    const boost::json::object report = run_throughput(throughput);
    if (throughput.json) {
      print(report);
    }
  });
  add_recall(app, recall)->callback([&] { run_recall(recall); });
  add_paper(app, paper)->callback([&] { run_paper(paper); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  } catch (const std::exception& error) {
    std::cerr << "condensed-eval: " << error.what() << std::endl;
    return kFailed;
  }
  return 0;
}
