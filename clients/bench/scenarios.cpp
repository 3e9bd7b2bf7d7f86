#include "clients/bench/scenario.h"

namespace condensed::bench {

std::vector<std::unique_ptr<Scenario>> all_scenarios() {
  std::vector<std::unique_ptr<Scenario>> all;
  all.push_back(make_stream_scenario());
  all.push_back(make_prefill_scenario());
  return all;
}

}  // namespace condensed::bench
