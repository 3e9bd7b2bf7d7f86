#pragma once

#include <cmath>
#include <string>

#include <boost/json.hpp>

namespace condensed::bench {

/// A report of 12 s and 1,200 tokens, as `bench stream --json` writes them, made by hand. Its segments
/// alternate around mean_ms, so their interval is known: t(11) · 0.1 · mean_ms / sqrt(11).
inline boost::json::object sample_report(double mean_ms, int window = 252) {
  namespace json = boost::json;
  json::object report = json::parse(R"({
    "schema": "condensed-bench/1", "scenario": "stream", "seed": 7, "started_at": "2026-11-21T10:00:00Z",
    "ended": "finished", "duration": 12, "completed": 1, "failed": 0, "errors": {}, "total_output_tokens": 1200,
    "output_throughput": 100, "request_throughput": 0.083,
    "histograms": {"itl": {"count": 1199, "unit": "ns"}, "ttft": {"count": 1, "unit": "ns"}},
    "mean_ttft_ms": 3, "p50_ttft_ms": 3, "p99_ttft_ms": 3, "max_ttft_ms": 3,
    "percentiles": {"itl": [[0, 1], [0.5, 9], [0.99, 20], [1, 80.25]], "ttft": [[0, 3], [1, 3]]},
    "by_position": [
      {"from": 0, "to": 256, "count": 255, "mean_ms": 9, "p50_ms": 8, "p99_ms": 19, "max_ms": 21},
      {"from": 512, "to": 768, "count": 256, "mean_ms": 9, "p50_ms": 8.5, "p99_ms": 20, "max_ms": 80.25}],
    "timeline": [
      {"t_s": 0, "length_s": 6, "output_tokens": 700, "itl_p50_ms": 8, "itl_p99_ms": 19, "itl_max_ms": 21,
       "resident_bytes": 20000000, "cache_bytes": 196608, "sessions_resident": 1, "sessions_asleep": 0,
       "evictions": 300, "mean_batch": 1},
      {"t_s": 6, "length_s": 4, "output_tokens": 300},
      {"t_s": 10, "length_s": 2, "output_tokens": 200, "itl_p50_ms": 8.5, "itl_p99_ms": 20, "itl_max_ms": 80.25,
       "resident_bytes": 20100000, "cache_bytes": 196608, "sessions_resident": 1, "sessions_asleep": 0,
       "evictions": 600, "mean_batch": 1.5}],
    "stalls": {"threshold_ms": 20, "count": 2, "listed": [
      {"t_s": 2, "session": "bench-0", "position": 200, "itl_ms": 21, "account": null},
      {"t_s": 8, "session": "bench-0", "position": 700, "itl_ms": 80.25,
       "account": {"step_ms": 80.125, "prompt_rows": 32, "snapshots_under_way": 0}}]},
    "daemon_side": {"itl": {"count": 1199, "mean_ms": 9.9, "p50_ms": 8, "p99_ms": 25}, "steps": 1200,
                    "evictions": 900, "mean_batch": 1, "step": {"count": 1200, "mean_ms": 9.5}},
    "overhead": {"ns_per_token": 1500, "share_of_step": 0.00015}})")
                            .as_object();
  for (const char* statistic : {"mean", "p50", "p99", "p99.9", "p99.99", "max"}) {
    report[std::string(statistic) + "_itl_ms"] = mean_ms;
  }
  json::array segments;
  for (int i = 0; i < 12; ++i) {
    json::object segment;
    segment["from_s"] = i;
    segment["to_s"] = i + 1;
    segment["count"] = 100;
    for (const char* key : {"mean_ms", "p50_ms", "p99_ms"}) {
      segment[key] = mean_ms * (i % 2 == 0 ? 0.9 : 1.1);
    }
    segments.push_back(std::move(segment));
  }
  report["segments"] = json::object();
  report["segments"].as_object()["itl"] = std::move(segments);
  json::object client;
  client["window"] = window;
  client["sinks"] = 4;
  json::object daemon;
  daemon["version"] = "0.1.0";
  json::object settings;
  settings["client"] = std::move(client);
  settings["daemon"] = std::move(daemon);
  report["settings"] = std::move(settings);
  return report;
}

}  // namespace condensed::bench
