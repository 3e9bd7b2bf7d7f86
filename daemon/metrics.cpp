#include "daemon/metrics.h"

#include <algorithm>
#include <iterator>

#include <prometheus/text_serializer.h>

#include "daemon/process_metrics.h"

namespace condensed::daemon {

namespace {

using engine::FinishReason;
using std::chrono::nanoseconds;
using Buckets = prometheus::Histogram::BucketBoundaries;

// Bounds up to the comment are ours: small models are faster than what vLLM's tell apart.
const Buckets kFirstTokenSeconds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                 1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
const Buckets kTokenSeconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, /**/ 0.01, 0.025, 0.05,
                            0.075,  0.1,     0.15,   0.2,   0.3,    0.4,   0.5,       0.75,  1,
                            2.5,    5,       7.5,    10,    20,     40,    80};
const Buckets kRequestSeconds{0.01, 0.03, 0.1, /**/ 0.3, 0.5, 0.8, 1,   1.5, 2,   2.5, 5,    10,
                              15,   20,   30,  40,       50,  60,  120, 240, 480, 960, 1920, 7680};
const Buckets kStepRows{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const Buckets kTokens{1,    2,    5,     10,    20,    50,     100,    200,    500,    1000,
                      2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000};
const Buckets kSessions{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
const Buckets kPasses{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64};
const Buckets kSeconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                       0.1,    0.25,    0.5,    1,     2.5,    5,     10,   25};

constexpr std::array kReasons{FinishReason::length,    FinishReason::stop,   FinishReason::eos,
                              FinishReason::cancelled, FinishReason::closed, FinishReason::shutdown,
                              FinishReason::failed};

// Those that the engine does not know; docs/protocol.md, "Errors".
constexpr std::array kDaemonErrors{"bad_json",         "invalid_utf8",  "line_too_long", "unknown_op",
                                   "connection_limit", "request_limit", "replay_gone",   "internal",
                                   "forbidden",        "import_limit"};
constexpr auto kLastEngineError = engine::ErrorCode::shutting_down;

/// vLLM tells apart what a model ends, what its limit ends, and what somebody else does.
std::string_view finished_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::length:
      return "length";
    case FinishReason::stop:
    case FinishReason::eos:
      return "stop";
    case FinishReason::cancelled:
    case FinishReason::closed:
    case FinishReason::shutdown:
    case FinishReason::failed:
      break;
  }
  return "abort";
}

double seconds(nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

prometheus::Labels with(prometheus::Labels labels, const char* name, std::string_view value) {
  labels.emplace(name, value);
  return labels;
}

}  // namespace

Metrics::Counter Metrics::counter(const char* name, const char* help, const prometheus::Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(labels);
}

Metrics::Gauge Metrics::gauge(const char* name, const char* help, const prometheus::Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels);
}

Metrics::Histogram Metrics::histogram(const char* name, const char* help, const Buckets& buckets,
                                      const prometheus::Labels& labels) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(labels, buckets);
}

Metrics::Metrics(const std::string& model_name, const std::string& backend)
    : model_{{"model_name", model_name}},
      build_info_(prometheus::BuildGauge()
                      .Name("condensed_build_info")
                      .Help("Always 1; the labels say what runs.")
                      .Register(registry_)),
      running_(gauge("vllm:num_requests_running", "Generations under way.", model_)),
      waiting_(gauge("vllm:num_requests_waiting",
                     "Sessions that had tokens to run but found no room in the latest step.", model_)),
      cache_usage_(
          gauge("vllm:kv_cache_usage_perc",
                "Memory of all caches; 1 is max_cache_bytes, or max_resident_sessions full sessions of the "
                "default window, if that is less.",
                model_)),
      gpu_cache_usage_(gauge("vllm:gpu_cache_usage_perc",
                             "The same as vllm:kv_cache_usage_perc, under its older name.", model_)),
      prompt_tokens_(counter("vllm:prompt_tokens_total", "Input tokens read.", model_)),
      generation_tokens_(counter("vllm:generation_tokens_total", "Tokens generated.", model_)),
      time_to_first_token_(histogram("vllm:time_to_first_token_seconds",
                                     "From a generate request's arrival to its first token.",
                                     kFirstTokenSeconds, model_)),
      inter_token_latency_(histogram("vllm:inter_token_latency_seconds",
                                     "From a generation's token to its next.", kTokenSeconds, model_)),
      time_per_output_token_(histogram("vllm:time_per_output_token_seconds",
                                       "The same as vllm:inter_token_latency_seconds, under its older name.",
                                       kTokenSeconds, model_)),
      request_time_per_output_token_(histogram(
          "vllm:request_time_per_output_token_seconds",
          "Mean time between a generation's tokens, once for each that has ended.", kTokenSeconds, model_)),
      request_latency_(histogram("vllm:e2e_request_latency_seconds",
                                 "From a generate request's arrival to the end of its generation.",
                                 kRequestSeconds, model_)),
      iteration_tokens_(histogram("vllm:iteration_tokens_total",
                                  "Tokens that ran through the model in a step.", kStepRows, model_)),
      request_prompt_tokens_(histogram("vllm:request_prompt_tokens",
                                       "Input tokens read on a session since its generation before.", kTokens,
                                       model_)),
      request_generation_tokens_(
          histogram("vllm:request_generation_tokens", "Tokens of a generation.", kTokens, model_)),
      requests_(prometheus::BuildCounter()
                    .Name("vllm:request_success_total")
                    .Help("Generations that have ended, by vLLM's reasons.")
                    .Register(registry_)),
      generations_(prometheus::BuildCounter()
                       .Name("condensed_generations_total")
                       .Help("Generations that have ended, by the reason in `done`.")
                       .Register(registry_)),
      evictions_(counter("condensed_evictions_total", "Tokens that left a window.")),
      step_seconds_(histogram("condensed_step_seconds", "Duration of a step, sampling included.", kSeconds)),
      batch_sessions_(histogram("condensed_batch_sessions", "Sessions that took part in a step.", kSessions)),
      prefill_passes_(histogram("condensed_prefill_passes",
                                "Iterations of a step that read input, the most that any slice took.",
                                kPasses)),
      append_tokens_(
          histogram("condensed_append_tokens", "Tokens of an open's or append's input, once read.", kTokens)),
      sessions_generating_(gauge("condensed_sessions", "Sessions, by state.", {{"state", "generating"}})),
      sessions_resident_(gauge("condensed_sessions", "Sessions, by state.", {{"state", "resident"}})),
      sessions_asleep_(gauge("condensed_sessions", "Sessions, by state.", {{"state", "asleep"}})),
      sessions_max_(gauge("condensed_sessions_max", "max_sessions of the configuration.")),
      cache_bytes_(gauge("condensed_cache_bytes", "Memory allocated for the caches of all sessions.")),
      weight_bytes_(gauge("condensed_weight_bytes", "Size of the model's weights.")),
      snapshot_written_bytes_(
          counter("condensed_snapshot_written_bytes_total", "Bytes of snapshots written.")),
      snapshot_write_seconds_(
          histogram("condensed_snapshot_write_seconds", "Duration of writing a snapshot.", kSeconds)),
      snapshot_failures_(
          counter("condensed_snapshot_failures_total", "Snapshots that could not be written.")),
      wake_seconds_(histogram("condensed_wake_seconds",
                              "Duration of bringing a session that was asleep back into memory.", kSeconds)),
      device_failures_(
          counter("condensed_device_failures_total", "Times the device failed and was restarted.")),
      hibernations_(counter("condensed_hibernations_total", "Times a session was put to sleep.")),
      connections_(gauge("condensed_connections", "Client connections that are open.")),
      connections_total_(counter("condensed_connections_total", "Client connections accepted.")),
      errors_(prometheus::BuildCounter()
                  .Name("condensed_errors_total")
                  .Help("`error` events sent, by code.")
                  .Register(registry_)) {
  for (const FinishReason reason : kReasons) {
    requests_.Add(with(model_, "finished_reason", finished_reason(reason)));
    generations_.Add({{"reason", std::string(engine::name_of(reason))}});
  }
  for (const char* code : kDaemonErrors) {
    errors_.Add({{"code", code}});
  }
  for (int code = 0; code <= static_cast<int>(kLastEngineError); ++code) {
    errors_.Add({{"code", std::string(engine::name_of(static_cast<engine::ErrorCode>(code)))}});
  }
  say_backend(backend);
}

/// A restart may have moved the model.
void Metrics::say_backend(const std::string& backend) {
  if (running_build_ != nullptr && backend == backend_) {
    return;
  }
  if (running_build_ != nullptr) {
    build_info_.Remove(running_build_);
  }
  prometheus::Labels labels = with(model_, "backend", backend);
  labels.emplace("version", CONDENSED_VERSION);
  running_build_ = &build_info_.Add(labels);
  running_build_->Set(1);
  backend_ = backend;
}

void Metrics::on_step(const engine::StepReport& step) {
  prompt_tokens_.Increment(static_cast<double>(step.prompt_rows));
  generation_tokens_.Increment(static_cast<double>(step.decode_rows));
  iteration_tokens_.Observe(static_cast<double>(step.rows()));
  batch_sessions_.Observe(static_cast<double>(step.sessions));
  step_seconds_.Observe(seconds(step.duration));
  evictions_.Increment(static_cast<double>(step.evictions));
  if (step.prompt_rows > 0) {
    prefill_passes_.Observe(static_cast<double>(step.passes));
  }
}

void Metrics::on_first_token(nanoseconds since_arrival) {
  time_to_first_token_.Observe(seconds(since_arrival));
}

void Metrics::on_later_token(nanoseconds since_previous) {
  inter_token_latency_.Observe(seconds(since_previous));
  time_per_output_token_.Observe(seconds(since_previous));
}

void Metrics::on_generation_end(const engine::GenerationSummary& summary) {
  requests_.Add(with(model_, "finished_reason", finished_reason(summary.reason))).Increment();
  generations_.Add({{"reason", std::string(engine::name_of(summary.reason))}}).Increment();
  request_latency_.Observe(seconds(summary.total));
  request_prompt_tokens_.Observe(static_cast<double>(summary.prompt_tokens));
  request_generation_tokens_.Observe(static_cast<double>(summary.completion_tokens));
  if (summary.completion_tokens > 1) {
    request_time_per_output_token_.Observe(seconds(summary.total - summary.time_to_first_token) /
                                           static_cast<double>(summary.completion_tokens - 1));
  }
}

void Metrics::on_append_read(std::int64_t tokens) {
  append_tokens_.Observe(static_cast<double>(tokens));
}

void Metrics::on_snapshot_written(std::size_t bytes, nanoseconds duration) {
  snapshot_written_bytes_.Increment(static_cast<double>(bytes));
  snapshot_write_seconds_.Observe(seconds(duration));
}

void Metrics::on_snapshot_failed() {
  snapshot_failures_.Increment();
}

void Metrics::on_device_failed() {
  device_failures_.Increment();
}

void Metrics::on_session_hibernated() {
  hibernations_.Increment();
}

void Metrics::on_session_woken(nanoseconds duration) {
  wake_seconds_.Observe(seconds(duration));
}

void Metrics::on_connection() {
  connections_total_.Increment();
}

void Metrics::on_error(std::string_view code) {
  errors_.Add({{"code", std::string(code)}}).Increment();
}

std::string Metrics::text(const engine::EngineInfo& info, std::int64_t connections) {
  const double usage = static_cast<double>(info.cache_bytes) /
                       static_cast<double>(std::max<std::size_t>(1, info.max_cache_bytes));
  say_backend(info.backend);
  running_.Set(static_cast<double>(info.generating));
  waiting_.Set(static_cast<double>(info.waiting));
  cache_usage_.Set(usage);
  gpu_cache_usage_.Set(usage);
  sessions_generating_.Set(static_cast<double>(info.generating));
  sessions_asleep_.Set(static_cast<double>(info.asleep));
  sessions_resident_.Set(static_cast<double>(info.sessions - info.asleep - info.generating));
  sessions_max_.Set(static_cast<double>(info.max_sessions));
  cache_bytes_.Set(static_cast<double>(info.cache_bytes));
  weight_bytes_.Set(static_cast<double>(info.weight_bytes));
  connections_.Set(static_cast<double>(connections));

  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  std::ranges::move(process_metrics(), std::back_inserter(families));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace condensed::daemon
