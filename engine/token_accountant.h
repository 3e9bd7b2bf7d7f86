#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "engine/step_account.h"
#include "engine/work_ledger.h"

namespace condensed::engine {

/// Measures one generation token by token and gives the account of those that were slow. Used by the engine's
/// thread only; the ledger must outlive it.
class TokenAccountant {
 public:
  /// What keeps the session, or does not, when a step is put together.
  enum class Turn : std::uint8_t { runs, queued, held };

  /// above: an interval, or a step, longer than that is accounted for. arrival: of the request; taken_up:
  /// when the engine's thread looked at it first.
  TokenAccountant(WorkLedger& ledger, std::chrono::nanoseconds above, Clock::time_point arrival,
                  Clock::time_point taken_up);

  /// The generation begins. woken: its session had to be brought into memory first.
  void started(Clock::time_point now, bool woken);
  void take_turn(Turn turn) {
    if (turn != turn_) {
      change_turn(turn, Clock::now());
    }
  }
  void read_input(std::int64_t tokens) { input_tokens_ += tokens; }
  /// A token has come, at `now`, out of the step under way. Its account if it was slow.
  std::optional<StepAccount> token(Clock::time_point now);

 private:
  void change_turn(Turn turn, Clock::time_point now);
  StepAccount account(Clock::time_point now);
  void begin_interval(Clock::time_point now);

  WorkLedger* ledger_;
  std::chrono::nanoseconds above_;
  Clock::time_point began_;  // the interval
  Clock::time_point taken_up_;
  WorkLedger::Totals totals_;  // when it began
  ResourceUse use_;            // likewise
  Turn turn_ = Turn::runs;
  Clock::time_point turn_since_;
  std::chrono::nanoseconds held_{};
  std::chrono::nanoseconds queued_{};
  std::chrono::nanoseconds starting_{};
  std::chrono::nanoseconds waking_{};
  std::int64_t input_tokens_ = 0;
};

}  // namespace condensed::engine
