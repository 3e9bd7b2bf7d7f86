#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <boost/json.hpp>

namespace CLI {
class App;
}

namespace condensed::bench {

class Run;

/// A kind of load. One file each: its flags, and what it does with a run.
class Scenario {
 public:
  virtual ~Scenario() = default;

  virtual std::string name() const = 0;
  virtual std::string description() const = 0;
  /// Flags beside those that all scenarios have (bench_command.cpp). Their values stay in the scenario.
  virtual void add_flags(CLI::App& command) = 0;
  /// What was asked for, for the report; known once flags were read. Throws std::invalid_argument for flags
  /// that do not go together.
  virtual boost::json::object settings() const = 0;
  /// Warms up, calls run.begin_measuring() and ends by itself or soon after run.stopping(). What it throws
  /// ends the run, which is still reported.
  virtual boost::asio::awaitable<void> execute(Run& run) = 0;
  /// Adds what only this scenario knows to the report. run is over.
  virtual void add_to_report(Run& /*run*/, boost::json::object& /*report*/) const {}
};

std::unique_ptr<Scenario> make_stream_scenario();
std::unique_ptr<Scenario> make_prefill_scenario();
std::unique_ptr<Scenario> make_conversation_scenario();
std::unique_ptr<Scenario> make_arrivals_scenario();
std::unique_ptr<Scenario> make_churn_scenario();

/// All of them, in the order in which they are listed.
std::vector<std::unique_ptr<Scenario>> all_scenarios();

}  // namespace condensed::bench
