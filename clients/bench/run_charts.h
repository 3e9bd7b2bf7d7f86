#pragma once

#include <optional>
#include <span>

#include <boost/json.hpp>

#include "clients/bench/results_file.h"

namespace condensed::bench {

// Charts of one run, whose name is empty then, or of several in the same axes. Nothing where there is nothing
// to draw.

using Chart = std::optional<boost::json::object>;

/// Inter-token latency by stream position; of several runs without maxima, of many without medians.
Chart position_chart(std::span<const NamedReport> runs);
/// Inter-token latency by the share of observations that are not above it.
Chart percentile_chart(std::span<const NamedReport> runs);
/// The same of what is counted once for each request.
Chart request_percentile_chart(std::span<const NamedReport> runs);
/// Means of what is counted once for each request, waiting among it, over the run.
Chart requests_over_time_chart(std::span<const NamedReport> runs);
Chart throughput_chart(std::span<const NamedReport> runs);
Chart latency_over_time_chart(std::span<const NamedReport> runs);
/// The daemon's memory over time.
Chart resident_chart(std::span<const NamedReport> runs);
/// Memory of caches over the tokens that were generated.
Chart cache_chart(std::span<const NamedReport> runs);
Chart evictions_chart(std::span<const NamedReport> runs);
Chart batch_chart(std::span<const NamedReport> runs);
/// Sessions in memory and asleep, if any slept.
Chart sessions_chart(std::span<const NamedReport> runs);
Chart stalls_chart(std::span<const NamedReport> runs);

}  // namespace condensed::bench
