#include "eval/step_latencies_json.h"

namespace condensed::eval {

boost::json::object to_json(const StepLatencies& steps) {
  return {{"mean", steps.mean_s() * 1e3},     {"p50", steps.at_s(0.5) * 1e3},
          {"p90", steps.at_s(0.9) * 1e3},     {"p99", steps.at_s(0.99) * 1e3},
          {"p99.9", steps.at_s(0.999) * 1e3}, {"max", steps.max_s() * 1e3},
          {"cpu", steps.mean_cpu_s() * 1e3}};
}

}  // namespace condensed::eval
