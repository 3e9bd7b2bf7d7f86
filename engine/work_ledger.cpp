#include "engine/work_ledger.h"

namespace condensed::engine {

WorkLedger::Totals WorkLedger::totals(Clock::time_point now) const {
  Totals totals = totals_;
  totals.time[static_cast<std::size_t>(work_)] += now - since_;
  return totals;
}

const ResourceUse& WorkLedger::recent_use(Clock::time_point now) {
  return now - use_at_ > kUseAge ? current_use(now) : use_;
}

const ResourceUse& WorkLedger::current_use(Clock::time_point now) {
  use_ = resource_use();
  use_at_ = now;
  return use_;
}

}  // namespace condensed::engine
