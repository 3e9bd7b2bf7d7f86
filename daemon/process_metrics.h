#pragma once

#include <cstdint>
#include <vector>

#include <prometheus/metric_family.h>

namespace condensed::daemon {

/// The daemon's resident memory.
std::int64_t resident_bytes();

/// What Prometheus' client libraries say of a process (process_cpu_seconds_total, …), as of now.
std::vector<prometheus::MetricFamily> process_metrics();

}  // namespace condensed::daemon
