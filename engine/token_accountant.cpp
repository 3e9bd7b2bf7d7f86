#include "engine/token_accountant.h"

#include <utility>

namespace condensed::engine {

TokenAccountant::TokenAccountant(WorkLedger& ledger, std::chrono::nanoseconds above,
                                 Clock::time_point arrival, Clock::time_point taken_up)
    : ledger_(&ledger),
      above_(above),
      began_(arrival),
      taken_up_(taken_up),
      totals_(ledger.totals(taken_up)),
      use_(ledger.recent_use(taken_up)),
      turn_since_(taken_up) {}

void TokenAccountant::started(Clock::time_point now, bool woken) {
  starting_ = now - began_;
  waking_ = woken ? now - taken_up_ : std::chrono::nanoseconds(0);
  totals_.time = ledger_->totals(now).time;  // what went before is told by `starting`
}

void TokenAccountant::change_turn(Turn turn, Clock::time_point now) {
  if (turn_ == Turn::held) {
    held_ += now - turn_since_;
  } else if (turn_ == Turn::queued) {
    queued_ += now - turn_since_;
  }
  turn_ = turn;
  turn_since_ = now;
}

std::optional<StepAccount> TokenAccountant::token(Clock::time_point now) {
  std::optional<StepAccount> slow;
  if (now - began_ > above_ || now - ledger_->step_began() > above_) {
    slow = account(now);
  }
  begin_interval(now);
  return slow;
}

StepAccount TokenAccountant::account(Clock::time_point now) {
  const WorkLedger::Totals totals = ledger_->totals(now);
  const auto passed = [&](Work work) { return totals.of(work) - totals_.of(work); };
  const StepReport& step = ledger_->step();
  StepAccount account{.interval = now - began_,
                      .step = now - ledger_->step_began(),
                      .commands = passed(Work::commands),
                      .preparing = passed(Work::preparing),
                      .idle = passed(Work::idle),
                      .held = held_,
                      .queued = queued_,
                      .starting = starting_,
                      .waking = waking_,
                      .input_tokens = input_tokens_,
                      .steps = totals.steps - totals_.steps,
                      .sessions = step.sessions,
                      .decode_rows = step.decode_rows,
                      .prompt_rows = step.prompt_rows,
                      .passes = step.passes,
                      .snapshots_under_way = totals.jobs_begun - totals_.jobs_ended,
                      .snapshots_copied = totals.snapshots_copied - totals_.snapshots_copied,
                      .sessions_woken = totals.sessions_woken - totals_.sessions_woken};
  account.other_steps = passed(Work::step) - account.step;
  account.between_steps = account.commands + account.preparing;
  account.use = ledger_->current_use(now).since(use_);
  return account;
}

void TokenAccountant::begin_interval(Clock::time_point now) {
  began_ = now;
  totals_ = ledger_->totals(now);
  use_ = ledger_->recent_use(now);
  held_ = queued_ = starting_ = waking_ = std::chrono::nanoseconds(0);
  turn_since_ = now;
  input_tokens_ = 0;
}

}  // namespace condensed::engine
