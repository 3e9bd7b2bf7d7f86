#pragma once

#include <span>
#include <string>

#include <boost/json.hpp>

#include "clients/bench/results_file.h"

namespace condensed::bench {

/// At least two runs side by side, the first being what the others are compared with; schema
/// "condensed-bench-compare/1" (docs/latency-lab.md).
///
/// What is measured in consecutive parts of a run (means and percentiles of latencies, throughput) has an
/// interval from how the parts differ. It changed if the interval of the difference excludes 0, at a
/// confidence that holds for all such quantities of a run together.
boost::json::object compared(std::span<const NamedReport> runs);

/// For people, from what compared() made.
std::string comparison_table(const boost::json::object& comparison);
/// The page (report/html_page.h), with charts of all runs.
boost::json::object comparison_page(const boost::json::object& comparison, std::span<const NamedReport> runs);

}  // namespace condensed::bench
