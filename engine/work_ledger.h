#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "engine/engine_observer.h"
#include "engine/resource_use.h"

namespace condensed::engine {

using Clock = std::chrono::steady_clock;

/// What the engine's thread does at a moment.
enum class Work : std::uint8_t { idle, commands, preparing, step };

/// Keeps count of all that the engine's thread does, so that the difference of two moments says what happened
/// between. It reads no clock itself: a step must not pay for what nobody may ask for. Used by the engine's
/// thread only.
class WorkLedger {
 public:
  /// How old the kernel's counts may be that an interval begins with: so they cost next to nothing.
  static constexpr std::chrono::milliseconds kUseAge{1};

  struct Totals {
    std::array<std::chrono::nanoseconds, 4> time{};  // by Work
    std::int64_t steps = 0;                          // begun
    std::int64_t jobs_begun = 0;                     // of the snapshot thread
    std::int64_t jobs_ended = 0;
    std::int64_t snapshots_copied = 0;
    std::int64_t sessions_woken = 0;

    std::chrono::nanoseconds of(Work work) const { return time[static_cast<std::size_t>(work)]; }
  };

  explicit WorkLedger(Clock::time_point now) : since_(now) {}

  /// From now on the thread does this.
  void turn_to(Work work, Clock::time_point now) {
    totals_.time[static_cast<std::size_t>(work_)] += now - since_;
    work_ = work;
    since_ = now;
  }
  void begin_step(Clock::time_point now) {
    turn_to(Work::step, now);
    ++totals_.steps;
    step_began_ = now;
  }
  /// The model has run; tokens come of it.
  void ran(const StepReport& step) { step_ = step; }

  void job_begun() { ++totals_.jobs_begun; }
  void job_ended() { ++totals_.jobs_ended; }
  void snapshot_copied() { ++totals_.snapshots_copied; }
  void session_woken() { ++totals_.sessions_woken; }

  Totals totals(Clock::time_point now) const;
  /// Of the step under way: when it began, and what is known of it once the model has run.
  Clock::time_point step_began() const { return step_began_; }
  const StepReport& step() const { return step_; }

  /// The kernel's counts, not older than kUseAge.
  const ResourceUse& recent_use(Clock::time_point now);
  const ResourceUse& current_use(Clock::time_point now);

 private:
  Totals totals_;
  Work work_ = Work::preparing;
  Clock::time_point since_;
  Clock::time_point step_began_;
  StepReport step_;
  ResourceUse use_;
  Clock::time_point use_at_;
};

}  // namespace condensed::engine
