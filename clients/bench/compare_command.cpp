#include "clients/bench/compare_command.h"

#include <iostream>
#include <stdexcept>

#include <CLI/CLI.hpp>

#include "clients/bench/comparison.h"
#include "clients/bench/results_file.h"
#include "clients/condensectl/output_file.h"
#include "report/html_page.h"

namespace condensed::bench {

namespace {

void write_file(const std::string& path, const std::string& text) {
  ctl::OutputFile file(path);
  file.write(text);
  file.finish();
}

}  // namespace

void CompareCommand::add_to(CLI::App& bench, const std::function<void()>& chosen) {
  CLI::App* const command = bench.add_subcommand(
      "compare", "Lay reports of runs side by side and say what changed by more than noise");
  command
      ->add_option("files", files_,
                   "What `bench --json` wrote; the first is what the others are compared with")
      ->required()
      ->expected(2, 16);
  command->add_option("--json", json_path_, "Write the comparison here");
  command->add_option("--html", html_path_, "Write it as a page with charts here");
  command->callback([chosen] { chosen(); });
}

int CompareCommand::run(bool as_json) const {
  const std::vector<NamedReport> runs = read_reports(files_);
  const boost::json::object comparison = compared(runs);
  const std::string text = boost::json::serialize(comparison) + "\n";
  if (!json_path_.empty()) {
    write_file(json_path_, text);
  }
  if (!html_path_.empty()) {
    write_file(html_path_, report::html_page(comparison_page(comparison, runs)));
  }
  std::cout << (as_json ? text : comparison_table(comparison)) << std::flush;
  if (!std::cout) {
    throw std::runtime_error("cannot write to standard output");
  }
  return 0;
}

}  // namespace condensed::bench
