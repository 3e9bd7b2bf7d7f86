// What a model costs per token: prompts, decoding, memory, and how much of the machine's bandwidth that is.

#include <cstdio>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "engine/input_error.h"
#include "eval/commands.h"
#include "eval/memory_bandwidth.h"
#include "eval/random_model.h"
#include "eval/step_latencies_json.h"
#include "eval/stream_batch.h"

namespace condensed::eval {

namespace json = boost::json;

namespace {

constexpr std::size_t kDeviceBlockBytes = std::size_t{1} << 30;

json::object measure(engine::Model& model, const ThroughputOptions& options, std::int64_t batch_size,
                     const cache::StreamWindow& window, double bandwidth) {
  StreamBatch batch(model, options.run.prompt(), options.run.cache(), batch_size, window);
  json::object report{{"batch", batch_size}, {"sinks", window.sinks}, {"window", window.window}};
  if (options.prompt_tokens > 0) {
    const double seconds = batch.read_prompts(options.prompt_tokens);
    report["prompt_tokens"] = options.prompt_tokens;
    report["prompt_tokens_per_s"] = static_cast<double>(batch_size * options.prompt_tokens) / seconds;
  }
  if (options.fill || options.skip > 0) {
    batch.fill();
  }
  if (options.skip > 0) {
    batch.skip(options.skip);
    batch.fill();  // a jump leaves the window empty
  }
  constexpr std::int64_t kWarmupSteps = 3;
  const StepLatencies latencies = batch.time_decoding(options.tokens, kWarmupSteps);
  const double tokens_per_s = static_cast<double>(batch_size) / latencies.mean_s();
  const double bytes_per_token =
      static_cast<double>(batch.bytes_read_per_step()) / static_cast<double>(batch_size);
  report["decode_tokens"] = batch_size * options.tokens;
  report["decode_tokens_per_s"] = tokens_per_s;
  report["step_ms"] = to_json(latencies);
  report["position"] = batch.first().position();
  report["cached_tokens"] = batch.first().size();
  report["weight_bytes"] = model.weights.bytes();
  report["session_bytes"] = batch.first().bytes();
  report["bytes_read_per_token"] = bytes_per_token;
  report["bandwidth_share"] = bytes_per_token * tokens_per_s / bandwidth;
  return report;
}

void print_row(const json::object& row) {
  const json::object& step = row.at("step_ms").as_object();
  const json::value* prompt = row.if_contains("prompt_tokens_per_s");
  char line[200];
  std::snprintf(
      line, sizeof(line), "%6lld %8lld %12.1f %12.1f %10.2f %10.2f %10.2f %12.3f %8.0f%%",
      static_cast<long long>(row.at("batch").as_int64()), static_cast<long long>(row.at("window").as_int64()),
      prompt != nullptr ? prompt->as_double() : 0.0, row.at("decode_tokens_per_s").as_double(),
      step.at("p50").as_double(), step.at("p99").as_double(), step.at("p99.9").as_double(),
      row.at("session_bytes").to_number<double>() / 1e6, row.at("bandwidth_share").as_double() * 100);
  std::cout << line << std::endl;
}

}  // namespace

json::object run_throughput(const ThroughputOptions& options) {
  const RunOptions& run = options.run;
  if (run.model.empty() == options.random.empty()) {
    throw engine::InputError("give either --model DIR or --random SHAPE");
  }
  std::shared_ptr<engine::Model> model;
  if (options.random.empty()) {
    model = run.load();
  } else {
    const auto format = engine::parse_weight_format(run.weights == "stored" ? "bf16" : run.weights);
    model = run.make([&](std::unique_ptr<kernels::Backend> backend) {
      return random_model(options.random, options.layer_types, *format, std::move(backend));
    });
  }
  const int n_threads = run.threads > 0 ? run.threads : static_cast<int>(std::thread::hardware_concurrency());
  // Of the processor what its threads read, of a device what it copies: its memory is not for threads to
  // read.
  const bool on_device = model->backend->name().starts_with("cuda");
  const double bandwidth = on_device ? copy_bandwidth_bytes_per_s(*model->backend, kDeviceBlockBytes)
                                     : read_bandwidth_bytes_per_s(n_threads);
  std::vector<std::int64_t> batches{options.batch};
  std::vector<std::int64_t> windows{run.window.value_or(1020)};
  if (options.sweep) {
    batches = {1, 2, 4, 8, 16, 32, 64};
    windows = {256, 1020, 4096};
  }
  json::object report{{"model", model->name},           {"backend", std::string(model->backend->name())},
                      {"threads", n_threads},           {"weights", run.weights},
                      {"cache_dtype", run.cache_dtype}, {"prefill", run.prefill},
                      {"filled", options.fill},         {"read_bytes_per_s", bandwidth}};
  if (!options.json) {
    std::printf("%s, %s weights, %s cache, %d threads of %s kernels; memory reads %.1f GB/s\n",
                model->name.c_str(), run.weights.c_str(), run.cache_dtype.c_str(), n_threads,
                std::string(model->backend->name()).c_str(), bandwidth / 1e9);
    std::printf("%6s %8s %12s %12s %10s %10s %10s %12s %9s\n", "batch", "window", "prompt tok/s",
                "decode tok/s", "p50 ms", "p99 ms", "p99.9 ms", "session MB", "of memory");
    std::fflush(stdout);
  }
  json::array rows;
  for (const std::int64_t window : windows) {
    for (const std::int64_t batch : batches) {
      rows.push_back(measure(*model, options, batch, {run.sinks.value_or(4), window}, bandwidth));
      if (!options.json) {
        print_row(rows.back().as_object());
      }
    }
  }
  report["rows"] = std::move(rows);
  return report;
}

}  // namespace condensed::eval
