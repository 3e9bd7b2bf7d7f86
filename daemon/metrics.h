#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "engine/engine.h"
#include "engine/engine_observer.h"

namespace condensed::daemon {

/// Everything docs/metrics.md lists. What has the meaning it has in vLLM is named and labelled as there, so
/// that dashboards made for vLLM show it. Every series exists from the start.
///
/// The engine's thread reports what happens, through the observer's methods; the socket thread reports
/// connections and errors and reads. What the engine knows at any time is not kept here but comes with
/// text().
class Metrics final : public engine::EngineObserver {
 public:
  Metrics(const std::string& model_name, const std::string& backend);

  void on_step(const engine::StepReport& step) override;
  void on_first_token(std::chrono::nanoseconds since_arrival) override;
  void on_later_token(std::chrono::nanoseconds since_previous) override;
  void on_generation_end(const engine::GenerationSummary& summary) override;
  void on_append_read(std::int64_t tokens) override;
  void on_snapshot_written(std::size_t bytes, std::chrono::nanoseconds duration) override;
  void on_snapshot_failed() override;
  void on_device_failed() override;
  void on_session_hibernated() override;
  void on_session_woken(std::chrono::nanoseconds duration) override;

  void on_connection();
  /// An `error` event with this code was sent.
  void on_error(std::string_view code);

  /// All of it in Prometheus' text format 0.0.4. connections: open now.
  std::string text(const engine::EngineInfo& info, std::int64_t connections);

 private:
  using Counter = prometheus::Counter&;
  using Gauge = prometheus::Gauge&;
  using Histogram = prometheus::Histogram&;
  using Buckets = prometheus::Histogram::BucketBoundaries;

  Counter counter(const char* name, const char* help, const prometheus::Labels& labels = {});
  Gauge gauge(const char* name, const char* help, const prometheus::Labels& labels = {});
  Histogram histogram(const char* name, const char* help, const Buckets& buckets,
                      const prometheus::Labels& labels = {});

  prometheus::Registry registry_;
  void say_backend(const std::string& backend);

  prometheus::Labels model_;  // the label of what is named as in vLLM
  prometheus::Family<prometheus::Gauge>& build_info_;
  prometheus::Gauge* running_build_ = nullptr;  // what build_info_ says now
  std::string backend_;                         // that it says

  Gauge running_;
  Gauge waiting_;
  Gauge cache_usage_;
  Gauge gpu_cache_usage_;
  Counter prompt_tokens_;
  Counter generation_tokens_;
  Histogram time_to_first_token_;
  Histogram inter_token_latency_;
  Histogram time_per_output_token_;
  Histogram request_time_per_output_token_;
  Histogram request_latency_;
  Histogram iteration_tokens_;
  Histogram request_prompt_tokens_;
  Histogram request_generation_tokens_;
  prometheus::Family<prometheus::Counter>& requests_;  // by vLLM's finished_reason

  prometheus::Family<prometheus::Counter>& generations_;  // by reason
  Counter evictions_;
  Histogram step_seconds_;
  Histogram batch_sessions_;
  Histogram prefill_passes_;
  Histogram append_tokens_;
  Gauge sessions_generating_;
  Gauge sessions_resident_;
  Gauge sessions_asleep_;
  Gauge sessions_max_;
  Gauge cache_bytes_;
  Gauge weight_bytes_;
  Counter snapshot_written_bytes_;
  Histogram snapshot_write_seconds_;
  Counter snapshot_failures_;
  Histogram wake_seconds_;
  Counter device_failures_;
  Counter hibernations_;
  Gauge connections_;
  Counter connections_total_;
  prometheus::Family<prometheus::Counter>& errors_;  // by code
};

}  // namespace condensed::daemon
