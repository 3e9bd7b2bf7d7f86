#include "clients/bench/quantities.h"

#include <utility>

#include "clients/bench/lookup.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostParts = 40;

/// A figure's member over the run's segments.
std::vector<Part> segment_parts(const json::object& report, std::string_view figure,
                                std::string_view member) {
  std::vector<Part> out;
  for (const json::value& element : array_at(object_at(report, "segments"), figure)) {
    const json::object& segment = as_object(element);
    const auto count = number_at(segment, "count");
    const auto value = number_at(segment, member);
    if (count && value && *count > 0) {
      out.push_back({.weight = *count, .value = *value});
    }
  }
  return out;
}

/// Tokens a second, over parts of the timeline of about equal length.
std::vector<Part> throughput_parts(const json::object& report) {
  const json::array& timeline = array_at(report, "timeline");
  const std::size_t together = (timeline.size() + kMostParts - 1) / kMostParts;
  std::vector<Part> out;
  double tokens = 0;
  double length_s = 0;
  for (std::size_t i = 0; i < timeline.size(); ++i) {
    const json::object& slice = as_object(timeline[i]);
    tokens += number_at(slice, "output_tokens").value_or(0);
    length_s += number_at(slice, "length_s").value_or(0);
    const bool complete = (i + 1) % together == 0 || i + 1 == timeline.size();
    if (complete && length_s > 0) {
      out.push_back({.weight = length_s, .value = tokens / length_s});
      tokens = length_s = 0;
    }
  }
  return out;
}

}  // namespace

std::vector<Quantity> quantities_of(const json::object& report) {
  std::vector<Quantity> all;
  all.push_back({.name = "output_throughput",
                 .lower_is_better = false,
                 .value = number_at(report, "output_throughput"),
                 .estimate = estimated(throughput_parts(report))});
  const json::object& histograms = object_at(report, "histograms");
  for (const auto& [key, histogram] : histograms) {
    const std::string figure(key);
    for (const char* statistic : {"mean", "p50", "p99"}) {
      all.push_back({.name = figure + " " + statistic + "_ms",
                     .value = statistic_ms(report, statistic, figure),
                     .estimate = estimated(segment_parts(report, key, std::string(statistic) + "_ms"))});
    }
  }
  for (const auto& [key, histogram] : histograms) {
    for (const char* statistic : {"p99.9", "p99.99", "max"}) {
      const std::string figure(key);
      all.push_back(
          {.name = figure + " " + statistic + "_ms", .value = statistic_ms(report, statistic, figure)});
    }
  }
  for (const char* key : {"request_throughput", "request_goodput", "token_goodput", "good_token_share"}) {
    if (const auto value = number_at(report, key)) {
      all.push_back({.name = key, .lower_is_better = false, .value = value});
    }
  }
  std::erase_if(all, [](const Quantity& quantity) { return !quantity.value; });
  return all;
}

}  // namespace condensed::bench
