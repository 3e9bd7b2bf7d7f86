#pragma once

#include <chrono>
#include <optional>

namespace condensed::daemon {

/// Tells where a row of like events begins, so that the log says once what goes on, however often it happens.
/// The row has ended when nothing happened for a while. One thread.
class Episode {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Episode(std::chrono::seconds quiet) : quiet_(quiet) {}

  /// It has happened: true if a new row begins.
  bool begins(Clock::time_point now = Clock::now()) {
    const bool begins = !latest_ || now - *latest_ > quiet_;
    latest_ = now;
    return begins;
  }

 private:
  std::chrono::seconds quiet_;
  std::optional<Clock::time_point> latest_;
};

}  // namespace condensed::daemon
