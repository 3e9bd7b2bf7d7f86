#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/json.hpp>

namespace condensed::bench {

/// An inter-token latency above the threshold.
struct Stall {
  std::chrono::nanoseconds after_start{0};  // of the measured part, when the late token came
  std::string session;
  std::int64_t position = 0;  // of the late token
  std::chrono::nanoseconds latency{0};
  boost::json::value account;  // the daemon's own, or null
};

/// All stalls are counted; the longest are kept.
class Stalls {
 public:
  static constexpr std::size_t kMaxListed = 1000;

  void add(Stall stall);
  std::int64_t count() const { return count_; }
  /// In the order they happened.
  std::vector<Stall> listed() const;

 private:
  std::int64_t count_ = 0;
  std::vector<Stall> longest_;  // a heap, the shortest at the front
};

}  // namespace condensed::bench
