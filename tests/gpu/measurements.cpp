// Speeds: one stream against the memory's own speed, and batches that fill a given memory.

#include <algorithm>
#include <cstdio>
#include <map>

#include "engine/memory_plan.h"
#include "eval/answer_speed.h"
#include "eval/host_machine.h"
#include "eval/memory_bandwidth.h"
#include "eval/random_model.h"
#include "eval/stream_batch.h"
#include "tests/gpu/checks.h"

namespace condensed::gpu_check {

using engine::JsonObject;
using eval::StepLatencies;
using kernels::DType;

namespace {

constexpr engine::WeightFormat kBf16{DType::bf16, DType::bf16};
constexpr std::int64_t kWarmupSteps = 10;
constexpr std::int64_t kMemoryToSpare = std::int64_t{1} << 30;  // of the host's

JsonObject to_json(const StepLatencies& steps) {
  return {{"mean", steps.mean_s() * 1e3},
          {"p50", steps.at_s(0.5) * 1e3},
          {"p99", steps.at_s(0.99) * 1e3},
          {"p99.9", steps.at_s(0.999) * 1e3},
          {"max", steps.max_s() * 1e3}};
}

std::string text(const char* format, auto... values) {
  char out[200];
  std::snprintf(out, sizeof(out), format, values...);
  return out;
}

/// A tiny model stands in for all shapes where large ones would take for ever.
std::string shape_of(const Setting& setting, const std::string& shape) {
  return setting.tiny ? (setting.golden / "plain-llama/config.json").string() : shape;
}

/// Random weights lie in the host's memory, too. Empty: they fit there, or nobody knows.
std::string why_not_here(std::size_t weight_bytes) {
  const std::int64_t needed = static_cast<std::int64_t>(weight_bytes) + kMemoryToSpare;
  const std::int64_t available = eval::available_memory_bytes();
  return available == 0 || available >= needed
             ? ""
             : text("needs %.0f GB of the host's memory, which has %.0f GB available",
                    static_cast<double>(needed) / 1e9, static_cast<double>(available) / 1e9);
}

/// As many of `wanted` steps as the limit allows.
StepLatencies time_steps(const Setting& setting, eval::StreamBatch& streams, std::int64_t wanted,
                         std::int64_t& n_timed) {
  const double step_s = streams.time_decoding(kWarmupSteps, kWarmupSteps).at_s(0.5);
  n_timed = std::clamp(static_cast<std::int64_t>(setting.limit_s / step_s), std::int64_t{1}, wanted);
  return streams.time_decoding(n_timed, 0);
}

std::shared_ptr<engine::Model> model_of(const Setting& setting, const std::string& shape,
                                        const std::string& layer_types) {
  return eval::random_model(shape_of(setting, shape), layer_types, kBf16, setting.make_backend());
}

constexpr cache::StreamWindow kWindow{4, 1020};

/// One stream of a full window: which share of the memory's speed its steps reach.
Finding measure_share(const Setting& setting, engine::Model& model, double least_share) {
  const double copied = eval::copy_bandwidth_bytes_per_s(*model.backend, setting.tiny ? 4U << 20 : 1U << 30);
  eval::StreamBatch stream(model, {}, DType::bf16, 1, kWindow);
  stream.fill();
  std::int64_t n_steps = 0;
  const StepLatencies steps = time_steps(setting, stream, setting.brief ? 100 : 2000, n_steps);
  const auto bytes = static_cast<double>(stream.bytes_read_per_step());
  const double share = bytes / steps.at_s(0.5) / copied;
  Finding finding{
      .outcome = outcome_if(!setting.judge_speed || share >= least_share),
      .detail = text("%.1f tokens/s; %.2f GB a token is %.0f%% of %.0f GB/s copied, wanted %.0f%%",
                     1 / steps.at_s(0.5), bytes / 1e9, 100 * share, copied / 1e9, 100 * least_share),
      .figures = {{"copy_bytes_per_s", copied},
                  {"bytes_per_token", bytes},
                  {"tokens_per_s", 1 / steps.at_s(0.5)},
                  {"share", share},
                  {"wanted_share", least_share},
                  {"steps", n_steps},
                  {"step_ms", to_json(steps)}}};
  return finding;
}

Finding measure_evenness(const Setting& setting, engine::Model& model) {
  constexpr double kMost = 1.2;
  const std::int64_t wanted = setting.tiny ? 300 : setting.brief ? 5'000 : 100'000;
  eval::StreamBatch stream(model, {}, DType::bf16, 1, kWindow);
  stream.fill();
  std::int64_t n_steps = 0;
  const StepLatencies steps = time_steps(setting, stream, wanted, n_steps);
  const double ratio = steps.at_s(0.999) / steps.at_s(0.5);
  return {.outcome = outcome_if(!setting.judge_speed || (ratio <= kMost && n_steps == wanted)),
          .detail = text("%lld of %lld tokens: p99.9/p50 is %.3f, wanted %.1f at most",
                         static_cast<long long>(n_steps), static_cast<long long>(wanted), ratio, kMost),
          .figures = {{"tokens", n_steps},
                      {"wanted_tokens", wanted},
                      {"ratio", ratio},
                      {"wanted_ratio", kMost},
                      {"step_ms", to_json(steps)}}};
}

/// One row of the paper's table (arXiv 2405.10637): a condensed cache against a plain one.
struct Rival {
  std::string layer_types;
  double batch_ratio = 1;       // of the paper
  double throughput_ratio = 1;  // of the paper
};
struct Sweep {
  std::string shape;
  std::int64_t memory_bytes = 0;
  eval::Lengths lengths;
  std::vector<Rival> rivals;  // the first is the plain one
};

struct BatchResult {
  std::int64_t batch = 0;
  double tokens_per_s = 0;
};

/// The largest batch that fits beside the weights, and its speed.
Finding measure_batch(const Setting& setting, const Sweep& sweep, const Rival& rival,
                      std::map<std::string, BatchResult>& results) {
  const auto config = eval::random_model_config(shape_of(setting, sweep.shape), rival.layer_types);
  const engine::MemoryPlan plan =
      engine::plan_memory(config, kBf16, DType::bf16, {0, sweep.lengths.total()}, 0);
  if (std::string why = why_not_here(plan.weights); !why.empty()) {
    return {.outcome = Outcome::skipped, .detail = why};
  }
  const std::size_t plain_session =
      engine::plan_memory(eval::random_model_config(shape_of(setting, sweep.shape), "plain"), kBf16,
                          DType::bf16, {0, sweep.lengths.total()}, 0)
          .session;
  // A tiny model gets room for two plain sessions.
  const std::int64_t memory = setting.tiny
                                  ? static_cast<std::int64_t>(plan.weights + 2 * plain_session + (1U << 20))
                                  : sweep.memory_bytes;
  // The memory is for weights and caches, as in condensed-eval paper.
  BatchResult result{.batch = engine::largest_batch(memory, plan.weights, plan.session)};
  if (result.batch < 1) {
    return {.outcome = Outcome::failed, .detail = plan.explain(static_cast<std::size_t>(memory))};
  }
  const std::int64_t n_steps = setting.brief ? 4 : 20;
  const auto model = model_of(setting, sweep.shape, rival.layer_types);
  const eval::AnswerSpeed speed =
      eval::measure_answers(*model, {}, DType::bf16, result.batch, sweep.lengths, n_steps, 2);
  result.tokens_per_s = speed.tokens_per_s;
  results[rival.layer_types] = result;
  const BatchResult& plain = results["plain"];
  const double batch_ratio = static_cast<double>(result.batch) / static_cast<double>(plain.batch);
  const double speed_ratio = result.tokens_per_s / plain.tokens_per_s;
  // How many fit is arithmetic, and the same on every device; that they run, and how fast, is not.
  const bool reached = speed_ratio >= rival.throughput_ratio;
  return {.outcome = outcome_if(!setting.judge_speed || reached),
          .detail = text("batch %lld, %.0f tokens/s: %.1f times the batch (the paper %.1f), %.1f times the "
                         "throughput (the paper %.1f)",
                         static_cast<long long>(result.batch), result.tokens_per_s, batch_ratio,
                         rival.batch_ratio, speed_ratio, rival.throughput_ratio),
          .figures = {{"batch", result.batch},
                      {"tokens_per_s", result.tokens_per_s},
                      {"batch_ratio", batch_ratio},
                      {"paper_batch_ratio", rival.batch_ratio},
                      {"throughput_ratio", speed_ratio},
                      {"paper_throughput_ratio", rival.throughput_ratio},
                      {"memory_bytes", memory},
                      {"weight_bytes", plan.weights},
                      {"session_bytes", plan.session},
                      {"step_ms_at_end", to_json(speed.fills.back())}}};
}

}  // namespace

void measure_streams(const Setting& setting, Report& report) {
  struct Stream {
    const char* shape;
    double least_share;
  };
  for (const Stream& stream : {Stream{"tinyllama", 0.60}, Stream{"llama-7b", 0.75}}) {
    std::shared_ptr<engine::Model> model;
    report.run(std::string("speed.") + stream.shape, [&]() -> Finding {
      const auto config = eval::random_model_config(shape_of(setting, stream.shape), "plain");
      if (std::string why = why_not_here(engine::weight_bytes(config, kBf16)); !why.empty()) {
        return {.outcome = Outcome::skipped, .detail = why};
      }
      model = model_of(setting, stream.shape, "plain");
      return measure_share(setting, *model, stream.least_share);
    });
    if (model != nullptr && std::string_view(stream.shape) == "tinyllama") {
      report.run("evenness.tinyllama", [&] { return measure_evenness(setting, *model); });
    }
  }
}

void measure_batches(const Setting& setting, Report& report) {
  constexpr std::int64_t kGiB = std::int64_t{1} << 30;
  const std::vector<Sweep> sweeps{
      {"llama-7b", 24 * kGiB, {5, 2043}, {{"plain"}, {"w=2", 12.8, 3.8}, {"w=10", 3.2, 2.2}}},
      {"llama-30b", 80 * kGiB, {2048, 2048}, {{"plain"}, {"w=2", 32, 7.7}}}};
  for (const Sweep& sweep : sweeps) {
    std::map<std::string, BatchResult> results;
    for (const Rival& rival : sweep.rivals) {
      if (setting.tiny && rival.layer_types == "w=10") {
        continue;  // it has fewer layers
      }
      report.run("batch." + sweep.shape + "." + rival.layer_types, [&]() -> Finding {
        if (setting.brief && !setting.tiny && sweep.shape == "llama-30b") {
          return {.outcome = Outcome::skipped, .detail = "left out by --short"};
        }
        if (rival.layer_types != "plain" && !results.contains("plain")) {
          return {.outcome = Outcome::skipped, .detail = "there is no plain one to compare with"};
        }
        return measure_batch(setting, sweep, rival, results);
      });
    }
  }
}

}  // namespace condensed::gpu_check
