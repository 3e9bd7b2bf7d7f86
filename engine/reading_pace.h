#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace condensed::engine {

/// How fast input is read and steps are taken, averaged over the latest steps: what a client that ran into a
/// limit is told to wait is derived from it. observe() is called on the engine's thread only, the rest on
/// any.
class ReadingPace {
 public:
  /// A step took `duration` and read `all_tokens` of input, `longest` of them from one session.
  void observe(std::chrono::nanoseconds duration, std::int64_t longest, std::int64_t all_tokens);

  // Milliseconds, from 1 to a minute. 100 while nothing has been measured.

  /// Until one session has read this many bytes of its input.
  std::int64_t session_reads_ms(std::size_t bytes) const;
  /// Until all sessions together have read this many bytes.
  std::int64_t all_read_ms(std::size_t bytes) const;
  /// Until this many steps are done.
  std::int64_t steps_ms(std::int64_t n) const;

 private:
  std::atomic<double> step_ms_ = 0;           // 0: not measured yet
  std::atomic<double> session_token_ms_ = 0;  // between two input tokens of one session
  std::atomic<double> token_ms_ = 0;          // between two input tokens of any
};

}  // namespace condensed::engine
