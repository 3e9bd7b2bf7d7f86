#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/json_value.h"

namespace condensed::gpu_check {

enum class Outcome : std::uint8_t { passed, failed, skipped };

/// What came of one check.
struct Finding {
  Outcome outcome = Outcome::passed;
  std::string detail;          // one line: what was found, against what was allowed
  engine::JsonObject figures;  // for the JSON
};

/// passed if `holds`, else failed.
inline Outcome outcome_if(bool holds) {
  return holds ? Outcome::passed : Outcome::failed;
}

/// Runs checks one after another, prints a line for each as it ends, and keeps what they found: in a file
/// after each, since a fault of a device may end the process.
class Report {
 public:
  /// heading: facts about the run, which the JSON begins with. file: for the JSON; empty: none.
  Report(engine::JsonObject heading, std::filesystem::path file)
      : json_(std::move(heading)), file_(std::move(file)) {}

  /// What the check throws is a failure. Throws engine::InputError when the file cannot be written.
  void run(const std::string& name, const std::function<Finding()>& check);

  int n_failed() const { return n_failed_; }
  /// Prints how many checks passed, failed and were skipped.
  void print_summary() const;

 private:
  void write() const;

  engine::JsonObject json_;
  std::filesystem::path file_;
  engine::JsonArray checks_;
  int n_passed_ = 0;
  int n_failed_ = 0;
  int n_skipped_ = 0;
};

}  // namespace condensed::gpu_check
