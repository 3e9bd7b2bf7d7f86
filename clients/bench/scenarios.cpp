#include "clients/bench/scenario.h"

namespace condensed::bench {

std::vector<std::unique_ptr<Scenario>> all_scenarios() {
  std::vector<std::unique_ptr<Scenario>> all;
  all.push_back(make_stream_scenario());
  all.push_back(make_prefill_scenario());
  all.push_back(make_conversation_scenario());
  all.push_back(make_arrivals_scenario());
  all.push_back(make_churn_scenario());
  return all;
}

}  // namespace condensed::bench
