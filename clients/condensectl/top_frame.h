#pragma once

#include <cstddef>
#include <string>

#include <boost/json.hpp>

#include "clients/condensectl/exposition.h"

namespace condensed::ctl {

/// What the daemon said of itself at one moment.
struct Snapshot {
  boost::json::object stat;     // the `stat` event without a session
  boost::json::array sessions;  // of the `list` event
  Exposition metrics;

  double uptime_s() const;
};

struct FrameSize {
  std::size_t rows = 0;     // 0: as many as it takes
  std::size_t columns = 0;  // 0: as many as it takes
};

/// What `condensectl top` shows: the daemon's state, rates and latencies between two snapshots, then
/// sessions, the busiest first. An empty `before` stands for the daemon's start. Lines end in \n and fit the
/// size.
std::string top_frame(const Snapshot& before, const Snapshot& now, const FrameSize& size);

}  // namespace condensed::ctl
