#pragma once

#include <chrono>
#include <exception>
#include <string>

#include <boost/asio.hpp>

#include "clients/bench/daemon_watch.h"
#include "clients/bench/progress.h"
#include "clients/bench/report.h"
#include "clients/bench/run.h"
#include "clients/bench/scenario.h"

namespace condensed::bench {

/// The whole of a run: the scenario beside those who watch, then the daemon's figures, then the sessions that
/// are left are closed.
class MeasuredRun {
 public:
  MeasuredRun(Run& run, Scenario& scenario) : run_(run), scenario_(scenario), watch_(run), progress_(run) {}

  /// Runs the io_context until all of it is over. Throws nothing that the run could: see failure().
  void run_to_the_end();
  /// Ends the run before its time; from a handler of the io_context.
  void interrupt();

  /// What else ended the run before its time; null if nothing did.
  const std::exception_ptr& failure() const { return failure_; }
  bool interrupted() const { return interrupted_; }
  /// After the run; client_settings: what was asked for.
  RunFacts facts(const boost::json::object& client_settings) const;

 private:
  /// What this process has used up to a moment.
  struct Spent {
    client::AsyncClient::Work work;
    std::chrono::nanoseconds cpu{0};
  };

  Spent spent() const;
  boost::asio::awaitable<void> execute();
  boost::asio::awaitable<void> measure();

  Run& run_;
  Scenario& scenario_;
  DaemonWatch watch_;
  Progress progress_;
  std::chrono::system_clock::time_point started_at_;
  Spent before_;
  Spent after_;
  std::string ended_ = "finished";
  bool interrupted_ = false;
  std::exception_ptr failure_;
};

}  // namespace condensed::bench
