#include "clients/bench/run_charts.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "clients/bench/lookup.h"
#include "report/page_parts.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

using report::Axis;
using Runs = std::span<const NamedReport>;

/// Of more runs than that the medians, which differ least, would hide the rest.
constexpr std::size_t kMostWithMedians = 2;

const Axis kTime{.label = "time since the measured part began", .unit = "seconds"};

const Axis kShare{.label = "share of observations not above", .scale = "quantile"};

Axis latency_axis() {
  return {.label = "inter-token latency, ms", .scale = "log"};
}

std::string label(const NamedReport& run, const std::string& what) {
  return run.name.empty() ? what : what.empty() ? run.name : run.name + " " + what;
}

/// Makes a chart of what has a point to draw.
class Drawing {
 public:
  void add(const std::string& name, json::array points, const std::string& style = "line") {
    const bool drawn = std::any_of(points.begin(), points.end(),
                                   [](const json::value& point) { return !point.as_array()[1].is_null(); });
    if (drawn) {
      series_.push_back(report::series(name, std::move(points), style));
    }
  }

  void mark(json::object mark) { marks_.push_back(std::move(mark)); }

  Chart chart(const std::string& id, const std::string& title, const Axis& x, const Axis& y) {
    return series_.empty() ? Chart() : report::chart(id, title, x, y, std::move(series_), std::move(marks_));
  }

 private:
  json::array series_;
  json::array marks_;
};

/// Of one member over the bins of positions; a gap where bins are missing.
json::array over_positions(const json::object& report, std::string_view member) {
  json::array out;
  std::optional<double> expected;
  for (const json::value& element : array_at(report, "by_position")) {
    const json::object& bin = as_object(element);
    const auto from = number_at(bin, "from");
    const auto to = number_at(bin, "to");
    if (!from || !to) {
      continue;
    }
    if (expected && *expected != *from) {
      out.push_back(report::point(*expected, std::nullopt));
    }
    out.push_back(report::point((*from + *to) / 2, number_at(bin, member)));
    expected = to;
  }
  return out;
}

/// Where the cache of a stream is full, if the run went that far.
void mark_full_window(Drawing& drawing, const json::object& report) {
  const json::object& client = object_at(object_at(report, "settings"), "client");
  const json::array& bins = array_at(report, "by_position");
  const json::object& defaults = object_at(object_at(object_at(report, "settings"), "daemon"), "settings");
  const auto setting = [&](const char* key) {
    const auto asked_for = number_at(client, key);
    return asked_for ? asked_for : number_at(defaults, key);
  };
  const auto window = setting("window");
  const auto sinks = setting("sinks");
  if (!window || !sinks || bins.empty()) {
    return;
  }
  const double full = *window + *sinks;
  if (full >= number_at(as_object(bins.front()), "from").value_or(0) &&
      full <= number_at(as_object(bins.back()), "to").value_or(0)) {
    drawing.mark(report::mark_at_x(full, "window full"));
  }
}

/// A point for each part of the timeline: where is given the part and its beginning and length in seconds.
/// Nothing: the part is left out. May remember: over_time() begins with a copy.
using Point =
    std::function<std::optional<json::array>(const json::object& slice, double from_s, double length_s)>;

json::array over_time(const json::object& report, Point point) {
  json::array out;
  for (const json::value& element : array_at(report, "timeline")) {
    const json::object& slice = as_object(element);
    const auto from_s = number_at(slice, "t_s");
    const auto length_s = number_at(slice, "length_s");
    if (from_s && length_s && *length_s > 0) {
      if (std::optional<json::array> made = point(slice, *from_s, *length_s)) {
        out.push_back(std::move(*made));
      }
    }
  }
  return out;
}

/// What holds for a whole part stands in its middle.
Point middle_of(const char* member) {
  return [member](const json::object& slice, double from_s, double length_s) {
    return report::point(from_s + length_s / 2, number_at(slice, member));
  };
}

/// What was sampled late in a part stands at its end. A sample may fall beside its part: then there is none.
Point sampled(const char* member) {
  return [member](const json::object& slice, double from_s, double length_s) {
    const auto value = number_at(slice, member);
    return value ? std::optional(report::point(from_s + length_s, value)) : std::nullopt;
  };
}

/// What was counted from sample to sample, for each second.
Point sampled_rate(const char* member) {
  return [member, since_s = 0.0](const json::object& slice, double from_s, double length_s) mutable {
    const auto amount = number_at(slice, member);
    const double to_s = from_s + length_s;
    if (!amount) {
      return std::optional<json::array>();
    }
    const double before_s = std::exchange(since_s, to_s);
    return std::optional(report::point(to_s, *amount / (to_s - before_s)));
  };
}

json::array throughput_point(const json::object& slice, double from_s, double length_s) {
  return report::point(from_s + length_s / 2, number_at(slice, "output_tokens").value_or(0) / length_s);
}

Chart time_chart(Runs runs, const std::string& id, const std::string& title, const Axis& y,
                 const std::vector<std::pair<std::string, Point>>& lines) {
  Drawing drawing;
  for (const NamedReport& run : runs) {
    for (const auto& [name, point] : lines) {
      drawing.add(label(run, name), over_time(run.report, point));
    }
  }
  return drawing.chart(id, title, kTime, y);
}

/// Up to, and not including, the end of the curve at 1, which lies infinitely far to the right.
json::array percentile_points(const json::object& report, std::string_view figure) {
  json::array out;
  for (const json::value& element : array_at(object_at(report, "percentiles"), figure)) {
    const json::array* const point = element.if_array();
    if (point != nullptr && point->size() == 2 && (*point)[0].is_number() && (*point)[1].is_number() &&
        (*point)[0].to_number<double>() < 1) {
      out.push_back(report::point((*point)[0].to_number<double>(), (*point)[1].to_number<double>()));
    }
  }
  return out;
}

}  // namespace

Chart position_chart(Runs runs) {
  Drawing drawing;
  for (const NamedReport& run : runs) {
    if (runs.size() <= kMostWithMedians) {
      drawing.add(label(run, "p50"), over_positions(run.report, "p50_ms"));
    }
    drawing.add(label(run, "p99"), over_positions(run.report, "p99_ms"));
    if (runs.size() == 1) {
      drawing.add(label(run, "max"), over_positions(run.report, "max_ms"));
      mark_full_window(drawing, run.report);
    }
  }
  return drawing.chart("itl_by_position", "Inter-token latency by stream position",
                       {.label = "position in the stream, tokens"}, latency_axis());
}

Chart percentile_chart(Runs runs) {
  Drawing drawing;
  for (const NamedReport& run : runs) {
    drawing.add(label(run, runs.size() == 1 ? "itl" : ""), percentile_points(run.report, "itl"));
  }
  return drawing.chart("itl_percentiles", "Percentile curve of inter-token latency", kShare, latency_axis());
}

Chart request_percentile_chart(Runs runs) {
  constexpr double kFewest = 20;  // requests that a curve can be drawn of
  Drawing drawing;
  for (const NamedReport& run : runs) {
    for (const auto& [figure, histogram] : object_at(run.report, "histograms")) {
      if (figure != "itl" && number_at(as_object(histogram), "count").value_or(0) >= kFewest) {
        drawing.add(label(run, std::string(figure)), percentile_points(run.report, figure));
      }
    }
  }
  return drawing.chart("request_percentiles", "Percentile curves of requests", kShare,
                       {.label = "latency, ms", .scale = "log"});
}

Chart requests_over_time_chart(Runs runs) {
  constexpr std::size_t kFewest = 5;  // parts of the run that make a course
  Drawing drawing;
  for (const NamedReport& run : runs) {
    for (const auto& [figure, value] : object_at(run.report, "segments")) {
      const json::array& segments = array_at(object_at(run.report, "segments"), figure);
      if (figure == "itl" || figure == "tpot" || segments.size() < kFewest) {
        continue;
      }
      json::array points;
      for (const json::value& element : segments) {
        const json::object& segment = as_object(element);
        const double twice_middle_s =
            number_at(segment, "from_s").value_or(0) + number_at(segment, "to_s").value_or(0);
        points.push_back(report::point(twice_middle_s / 2, number_at(segment, "mean_ms")));
      }
      drawing.add(label(run, std::string(figure)), std::move(points));
    }
  }
  return drawing.chart("requests_over_time", "Latency of requests over time", kTime,
                       {.label = "latency, ms, mean"});
}

Chart throughput_chart(Runs runs) {
  return time_chart(runs, "throughput_over_time", "Throughput over time", {.label = "tokens/s, all sessions"},
                    {{runs.size() == 1 ? "generated" : "", throughput_point}});
}

Chart latency_over_time_chart(Runs runs) {
  std::vector<std::pair<std::string, Point>> lines;
  if (runs.size() <= kMostWithMedians) {
    lines.emplace_back("p50", middle_of("itl_p50_ms"));
  }
  lines.emplace_back("p99", middle_of("itl_p99_ms"));
  if (runs.size() == 1) {
    lines.emplace_back("max", middle_of("itl_max_ms"));
  }
  return time_chart(runs, "itl_over_time", "Inter-token latency over time", latency_axis(), lines);
}

Chart resident_chart(Runs runs) {
  return time_chart(runs, "memory_over_time", "Memory of the daemon over time",
                    {.label = "resident memory", .unit = "bytes"},
                    {{runs.size() == 1 ? "resident" : "", sampled("resident_bytes")}});
}

Chart cache_chart(Runs runs) {
  Drawing drawing;
  for (const NamedReport& run : runs) {
    double tokens = 0;
    drawing.add(label(run, runs.size() == 1 ? "caches" : ""),
                over_time(run.report, [&](const json::object& slice, double /*from*/, double /*length*/) {
                  tokens += number_at(slice, "output_tokens").value_or(0);
                  const auto bytes = number_at(slice, "cache_bytes");
                  return bytes ? std::optional(report::point(tokens, bytes)) : std::nullopt;
                }));
  }
  return drawing.chart("cache_over_tokens", "Memory of caches over tokens generated",
                       {.label = "tokens generated so far, all sessions"},
                       {.label = "memory of all caches", .unit = "bytes"});
}

Chart evictions_chart(Runs runs) {
  return time_chart(runs, "evictions_over_time", "Evictions over time", {.label = "evictions/s"},
                    {{runs.size() == 1 ? "evictions" : "", sampled_rate("evictions")}});
}

Chart batch_chart(Runs runs) {
  return time_chart(runs, "batch_over_time", "Batch over time", {.label = "tokens in a step, mean"},
                    {{runs.size() == 1 ? "batch" : "", sampled("mean_batch")}});
}

Chart sessions_chart(Runs runs) {
  const bool slept = std::any_of(runs.begin(), runs.end(), [](const NamedReport& run) {
    const json::array& timeline = array_at(run.report, "timeline");
    return std::any_of(timeline.begin(), timeline.end(), [](const json::value& slice) {
      return number_at(as_object(slice), "sessions_asleep").value_or(0) > 0;
    });
  });
  if (!slept) {
    return std::nullopt;
  }
  return time_chart(runs, "sessions_over_time", "Sessions over time", {.label = "sessions"},
                    {{"in memory", sampled("sessions_resident")}, {"asleep", sampled("sessions_asleep")}});
}

Chart stalls_chart(Runs runs) {
  Drawing drawing;
  for (const NamedReport& run : runs) {
    json::array points;
    for (const json::value& element : array_at(object_at(run.report, "stalls"), "listed")) {
      const json::object& stall = as_object(element);
      points.push_back(report::point(number_at(stall, "position").value_or(0), number_at(stall, "itl_ms")));
    }
    drawing.add(label(run, runs.size() == 1 ? "stalls" : ""), std::move(points), "dots");
  }
  if (const auto threshold = number_at(object_at(runs.front().report, "stalls"), "threshold_ms")) {
    drawing.mark(report::mark_at_y(*threshold, "threshold"));
  }
  return drawing.chart("stalls", "Stalls by stream position", {.label = "position in the stream, tokens"},
                       {.label = "inter-token latency, ms"});
}

}  // namespace condensed::bench
