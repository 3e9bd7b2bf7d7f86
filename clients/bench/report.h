#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <boost/json.hpp>

#include "clients/bench/recorder.h"
#include "clients/condensectl/exposition.h"
#include "clients/cpp/async_client.h"

namespace condensed::bench {

/// What a report says beside what was recorded.
struct RunFacts {
  std::string scenario;
  std::uint64_t seed = 0;
  std::chrono::system_clock::time_point started_at;
  std::string ended;  // "finished", "interrupted", or what went wrong
  boost::json::object client_settings;
  boost::json::object daemon_settings;
  std::optional<DaemonSample> first_sample;  // when the measured part began
  ctl::Exposition before;                    // the daemon's metrics then
  std::optional<ctl::Exposition> after;      // and after the measured part, if it was there to ask
  client::AsyncClient::Work work;            // in the measured part
  std::chrono::nanoseconds cpu{0};           // of this process, in the measured part
};

/// The report, schema "condensed-bench/1" (docs/latency-lab.md). Every other output is made of it.
boost::json::object report_json(const RunFacts& facts, const Recorder& recorder);

/// All of it but the histograms and settings as CSV, one value a line: section, row, key, value.
std::string report_csv(const boost::json::object& report);

/// For people.
std::string report_table(const boost::json::object& report);

}  // namespace condensed::bench
