#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/condensectl/commands.h"

namespace condensed::bench {

/// `condensectl bench SCENARIO`.
class BenchCommand {
 public:
  BenchCommand() : scenarios_(all_scenarios()) {}

  /// Adds the scenarios to `bench`; `chosen` runs when one was given.
  void add_to(CLI::App& bench, const std::function<void()>& chosen);

  /// Runs the scenario that was given, and reports. Returns the exit code; throws as ctl's commands do.
  int run(ctl::Context& context, const std::string& socket_path, const std::string& user);

 private:
  struct Flags {
    std::optional<std::string> duration;
    std::optional<std::string> warmup_duration;
    std::string slo;
    std::string stall_threshold = "20ms";
    std::uint64_t seed = 0;
    std::string json_path;
    std::string csv_path;
    std::string hgrm_prefix;
    std::string html_path;
  };

  void add_shared_flags(CLI::App& command);
  RunOptions options(const std::string& socket_path, const std::string& user) const;

  std::vector<std::unique_ptr<Scenario>> scenarios_;
  Scenario* chosen_ = nullptr;
  Flags flags_;
};

}  // namespace condensed::bench
