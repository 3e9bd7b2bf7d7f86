#pragma once

#include <boost/json.hpp>

#include "eval/step_latencies.h"

namespace condensed::eval {

/// In milliseconds: mean, p50, p90, p99, p99.9, max, cpu.
boost::json::object to_json(const StepLatencies& steps);

}  // namespace condensed::eval
