#pragma once

#include <optional>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "clients/bench/run.h"
#include "clients/condensectl/exposition.h"

namespace condensed::bench {

/// The daemon's own figures during a run, asked for on a connection of their own.
class DaemonWatch {
 public:
  explicit DaemonWatch(Run& run) : run_(run) {}

  /// Asks what the daemon is. Throws ConnectionLost and RequestFailed, as the others do.
  boost::asio::awaitable<void> connect();
  /// Reads the daemon's figures as they are when the measured part begins.
  boost::asio::awaitable<void> begin();
  /// Gives the recorder a sample every second, until the run stops.
  boost::asio::awaitable<void> poll();
  /// Reads the daemon's figures as they are after the measured part.
  boost::asio::awaitable<void> finish();

  /// The daemon's settings and model, as far as it tells.
  const boost::json::object& settings() const { return settings_; }
  const std::optional<DaemonSample>& first_sample() const { return first_sample_; }
  const ctl::Exposition& before() const { return before_; }
  const std::optional<ctl::Exposition>& after() const { return after_; }

 private:
  boost::asio::awaitable<boost::json::object> stat();
  boost::asio::awaitable<ctl::Exposition> metrics();

  Run& run_;
  Run::ClientPtr client_;
  boost::json::object settings_;
  std::optional<DaemonSample> first_sample_;
  ctl::Exposition before_;
  std::optional<ctl::Exposition> after_;
};

}  // namespace condensed::bench
