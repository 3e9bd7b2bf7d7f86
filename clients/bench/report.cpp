#include "clients/bench/report.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "clients/bench/histogram_encoding.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

using std::chrono::nanoseconds;

double ms(double value_ns) {
  return value_ns / 1e6;
}

double ms(std::int64_t value_ns) {
  return ms(static_cast<double>(value_ns));
}

double seconds(nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

std::string rfc3339(std::chrono::system_clock::time_point at) {
  const std::time_t time = std::chrono::system_clock::to_time_t(at);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  const std::size_t n = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text, n};
}

void add_figure(json::object& report, const std::string& name, const LatencyHistogram& histogram) {
  report["mean_" + name + "_ms"] = ms(histogram.mean());
  report["median_" + name + "_ms"] = ms(histogram.value_at_quantile(0.5));
  report["std_" + name + "_ms"] = ms(histogram.standard_deviation());
  for (const auto& [percentile, quantile] :
       {std::pair("p50", 0.5), {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}}) {
    report[std::string(percentile) + "_" + name + "_ms"] = ms(histogram.value_at_quantile(quantile));
  }
  report["max_" + name + "_ms"] = ms(histogram.max());
}

json::object histogram_json(const LatencyHistogram& histogram) {
  return {{"count", histogram.count()},
          {"unit", "ns"},
          {"significant_digits", histogram.significant_digits()},
          {"encoded", encoded(histogram)}};
}

json::array percentile_curve(const LatencyHistogram& histogram) {
  json::array out;
  for (const LatencyHistogram::Percentile& each : histogram.percentiles()) {
    out.push_back(json::array{each.quantile, ms(each.value_ns)});
  }
  return out;
}

json::array by_position(const CoarseningBins<LatencyHistogram>& bins) {
  json::array out;
  for (const auto& [index, histogram] : bins.bins()) {
    out.push_back(json::object{{"from", index * bins.width()},
                               {"to", (index + 1) * bins.width()},
                               {"count", histogram.count()},
                               {"mean_ms", ms(histogram.mean())},
                               {"p50_ms", ms(histogram.value_at_quantile(0.5))},
                               {"p99_ms", ms(histogram.value_at_quantile(0.99))},
                               {"max_ms", ms(histogram.max())}});
  }
  return out;
}

/// Equal parts of the run; what is left at its end is a part of its own if it is at least half as long, and
/// belongs to the one before otherwise.
json::array segments(const CoarseningBins<LatencyHistogram>& bins, nanoseconds duration) {
  const std::int64_t length_ns = duration.count();
  json::array out;
  for (auto bin = bins.bins().begin(); bin != bins.bins().end();) {
    const std::int64_t from_ns = bin->first * bins.width();
    std::int64_t to_ns = std::min(from_ns + bins.width(), length_ns);
    LatencyHistogram all = bin->second;
    if (++bin != bins.bins().end() && length_ns - bin->first * bins.width() < bins.width() / 2) {
      all.merge(bin->second);
      to_ns = length_ns;
      ++bin;
    }
    out.push_back(json::object{{"from_s", static_cast<double>(from_ns) / 1e9},
                               {"to_s", static_cast<double>(to_ns) / 1e9},
                               {"count", all.count()},
                               {"mean_ms", ms(all.mean())},
                               {"p50_ms", ms(all.value_at_quantile(0.5))},
                               {"p99_ms", ms(all.value_at_quantile(0.99))}});
  }
  return out;
}

json::array timeline(const Recorder& recorder, std::optional<DaemonSample> before) {
  const CoarseningBins<TimeSlice>& bins = recorder.timeline();
  const double length_s = seconds(recorder.duration(Clock::now()));
  const double width_s = static_cast<double>(bins.width()) / 1e9;
  json::array out;
  const auto row_of = [&](std::int64_t index, std::int64_t output_tokens) {
    const double from_s = static_cast<double>(index) * width_s;
    return json::object{{"t_s", from_s},
                        {"length_s", std::min(width_s, length_s - from_s)},
                        {"output_tokens", output_tokens}};
  };
  std::int64_t next = 0;
  const auto add_silence = [&](std::int64_t until) {  // nothing came, not even the daemon's word
    for (; next < until; ++next) {
      out.push_back(row_of(next, 0));
    }
  };
  for (const auto& [index, slice] : bins.bins()) {
    add_silence(index);
    next = index + 1;
    json::object row = row_of(index, slice.output_tokens);
    if (!slice.itl.empty()) {
      row["itl_p50_ms"] = ms(slice.itl.value_at_quantile(0.5));
      row["itl_p99_ms"] = ms(slice.itl.value_at_quantile(0.99));
      row["itl_max_ms"] = ms(slice.itl.max());
    }
    if (slice.sample) {
      row["resident_bytes"] = slice.sample->resident_bytes;
      row["cache_bytes"] = slice.sample->cache_bytes;
      row["sessions_resident"] = slice.sample->sessions_resident;
      row["sessions_asleep"] = slice.sample->sessions_asleep;
    }
    if (slice.sample && before) {
      row["evictions"] = slice.sample->evictions - before->evictions;
      const auto steps = static_cast<double>(slice.sample->steps - before->steps);
      row["mean_batch"] = ratio(static_cast<double>(slice.sample->rows - before->rows), steps);
    }
    before = slice.sample ? slice.sample : before;
    out.push_back(std::move(row));
  }
  add_silence(static_cast<std::int64_t>(std::ceil(length_s / width_s)));
  return out;
}

json::object stalls(const Recorder& recorder) {
  json::array listed;
  for (const Stall& stall : recorder.stalls().listed()) {
    listed.push_back(json::object{{"t_s", seconds(stall.after_start)},
                                  {"session", stall.session},
                                  {"position", stall.position},
                                  {"itl_ms", ms(stall.latency.count())},
                                  {"account", stall.account}});
  }
  return {{"threshold_ms", ms(recorder.stall_threshold().count())},
          {"count", recorder.stalls().count()},
          {"listed", std::move(listed)}};
}

json::object daemon_histogram(const RunFacts& facts, const std::string& name) {
  const ctl::Histogram histogram =
      ctl::difference(facts.after->histogram(name), facts.before.histogram(name));
  json::object out{{"count", static_cast<std::int64_t>(histogram.count())}};
  if (const auto mean = ctl::mean(histogram)) {
    out["mean_ms"] = 1e3 * *mean;
    out["p50_ms"] = 1e3 * *ctl::quantile(histogram, 0.5);
    out["p99_ms"] = 1e3 * *ctl::quantile(histogram, 0.99);
  }
  return out;
}

json::object daemon_side(const RunFacts& facts) {
  const auto change = [&](const char* name) { return facts.after->sum(name) - facts.before.sum(name); };
  const auto mean_of = [&](const std::string& name) {
    return ctl::mean(ctl::difference(facts.after->histogram(name), facts.before.histogram(name))).value_or(0);
  };
  const json::object step = daemon_histogram(facts, "condensed_step_seconds");
  return {{"itl", daemon_histogram(facts, "vllm:inter_token_latency_seconds")},
          {"ttft", daemon_histogram(facts, "vllm:time_to_first_token_seconds")},
          {"step", step},
          {"steps", step.at("count")},
          {"evictions", static_cast<std::int64_t>(change("condensed_evictions_total"))},
          {"mean_batch", mean_of("vllm:iteration_tokens_total")},
          {"prefill_passes", mean_of("condensed_prefill_passes")},
          {"prompt_tokens", static_cast<std::int64_t>(change("vllm:prompt_tokens_total"))},
          {"generation_tokens", static_cast<std::int64_t>(change("vllm:generation_tokens_total"))}};
}

json::object overhead(const RunFacts& facts, const Recorder& recorder) {
  const auto tokens = static_cast<double>(recorder.counts().output_tokens);
  const auto busy_ns = static_cast<double>(facts.work.busy.count());
  json::object out{{"ns_per_token", ratio(busy_ns, tokens)},
                   {"cpu_ns_per_token", ratio(static_cast<double>(facts.cpu.count()), tokens)}};
  if (facts.after) {
    constexpr const char* kSteps = "condensed_step_seconds";
    const double steps_s =
        ctl::difference(facts.after->histogram(kSteps), facts.before.histogram(kSteps)).sum;
    out["share_of_step"] = ratio(busy_ns / 1e9, steps_s);
  }
  return out;
}

void add_totals(json::object& report, const Recorder& recorder, double duration_s) {
  const Recorder::Counts& counts = recorder.counts();
  const auto rate = [&](std::int64_t n) { return ratio(static_cast<double>(n), duration_s); };
  report["duration"] = duration_s;
  report["completed"] = counts.completed;
  report["failed"] = counts.failed;
  json::object errors;
  for (const auto& [code, n] : counts.errors) {
    errors[code] = n;
  }
  report["errors"] = std::move(errors);
  report["total_input_tokens"] = counts.input_tokens;
  report["total_output_tokens"] = counts.output_tokens;
  report["request_throughput"] = rate(counts.completed);
  report["output_throughput"] = rate(counts.output_tokens);
  report["total_token_throughput"] = rate(counts.input_tokens + counts.output_tokens);
  if (!recorder.slo().limits().empty()) {
    report["request_goodput"] = rate(counts.good_requests);
    report["token_goodput"] = rate(counts.good_tokens);
    report["good_token_share"] =
        ratio(static_cast<double>(counts.good_tokens), static_cast<double>(counts.output_tokens));
  }
}

}  // namespace

json::object report_json(const RunFacts& facts, const Recorder& recorder) {
  const nanoseconds duration = recorder.duration(Clock::now());
  json::object report{{"schema", "condensed-bench/1"},
                      {"scenario", facts.scenario},
                      {"seed", facts.seed},
                      {"started_at", rfc3339(facts.started_at)},
                      {"ended", facts.ended},
                      {"settings", {{"client", facts.client_settings}, {"daemon", facts.daemon_settings}}}};
  add_totals(report, recorder, seconds(duration));
  json::object histograms;
  json::object curves;
  json::object parts;
  for (const Recorder::Measured& figure : recorder.figures()) {
    if (!figure.histogram.empty()) {
      add_figure(report, figure.name, figure.histogram);
      histograms[figure.name] = histogram_json(figure.histogram);
      curves[figure.name] = percentile_curve(figure.histogram);
      parts[figure.name] = segments(figure.segments, duration);
    }
  }
  report["histograms"] = std::move(histograms);
  report["by_position"] = by_position(recorder.by_position());
  report["timeline"] = timeline(recorder, facts.first_sample);
  report["percentiles"] = std::move(curves);
  report["stalls"] = stalls(recorder);
  report["segments"] = std::move(parts);
  if (facts.after) {
    report["daemon_side"] = daemon_side(facts);
  }
  report["overhead"] = overhead(facts, recorder);
  return report;
}

}  // namespace condensed::bench
