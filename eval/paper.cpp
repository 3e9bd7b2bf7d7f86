// The experiment of the layer-condensed cache's paper (arXiv 2405.10637), on random weights: how many
// sessions fit in a given memory and how fast they run, and what StreamingLLM costs on a plain and on a
// condensed cache.

#include "eval/paper.h"

#include <algorithm>
#include <iostream>
#include <limits>
#include <memory>
#include <unistd.h>
#include <utility>
#include <vector>

#include "engine/input_error.h"
#include "engine/memory_plan.h"
#include "eval/answer_speed.h"
#include "eval/host_machine.h"
#include "eval/paper_plan.h"
#include "eval/random_model.h"
#include "eval/report_sections.h"
#include "eval/step_latencies_json.h"
#include "eval/stream_batch.h"

namespace condensed::eval {

namespace json = boost::json;

namespace {

constexpr std::int64_t kSinks = kDefaultSinks;
constexpr std::int64_t kWarmupSteps = 1;
// For activations, which grow with the batch, and whatever else runs.
constexpr std::int64_t kMemoryToSpare = std::int64_t{1} << 30;

/// Checked before anything is measured, which takes minutes.
struct Experiment {
  Lengths lengths;
  std::vector<PaperShape> shapes;
  engine::WeightFormat weights;
};

Experiment checked(const PaperOptions& options) {
  Experiment experiment{.lengths = parse_lengths(options.lengths),
                        .weights = engine::parse_weight_format(options.run.weights).value()};
  // Steps from the middle on must not reach those that end where all is generated.
  if (experiment.lengths.generated < 4 * (options.steps + kWarmupSteps)) {
    throw engine::InputError(
        "lengths " + options.lengths + ": " + std::to_string(options.steps) +
        " steps are timed at three places of what is generated, which is too short for that");
  }
  for (const std::int64_t size : options.cache_sizes) {
    if (size <= kSinks) {
      throw engine::InputError("cache size " + std::to_string(size) + ": expected more than the " +
                               std::to_string(kSinks) + " sinks in it");
    }
  }
  for (const std::string& text : options.shapes) {
    experiment.shapes.push_back(parse_paper_shape(text));
    const std::string& shape = experiment.shapes.back().shape;
    if (std::ranges::count(experiment.shapes, shape, &PaperShape::shape) > 1) {
      throw engine::InputError("--random has " + shape + " twice: each shape can have one memory in a run");
    }
    for (const std::string& layer_types : options.layer_types) {
      random_model_config(experiment.shapes.back().shape, layer_types);
    }
  }
  return experiment;
}

json::value load_json() {
  const std::optional<double> load = load_of_last_minute();
  return load ? json::value(*load) : json::value(nullptr);
}

json::object machine_json() {
  const HostMachine machine = describe_machine();
  return {{"processor", machine.processor},
          {"processors", machine.processors},
          {"memory_bytes", machine.memory_bytes},
          {"available_memory_bytes", available_memory_bytes()},
          {"load_of_last_minute", load_json()}};
}

void say(const std::string& what) {
  if (::isatty(STDERR_FILENO) == 1) {
    std::cerr << what << std::endl;
  }
}

/// The batch while it generates.
void measure_batch(engine::Model& model, const PaperOptions& options, const Lengths& lengths,
                   json::object& row) {
  const std::int64_t batch = row.at("batch").as_int64();
  const AnswerSpeed speed = measure_answers(model, options.run.prompt(), options.run.cache(), batch, lengths,
                                            options.steps, kWarmupSteps);
  row["cache_bytes"] = speed.cache_bytes;
  row["resident_bytes"] = speed.resident_bytes;
  row["step_ms"] = json::object{{"start", to_json(speed.fills[0])},
                                {"middle", to_json(speed.fills[1])},
                                {"end", to_json(speed.fills[2])}};
  row["tokens_per_s"] = speed.tokens_per_s;
  row["tokens_per_cpu_s"] = speed.tokens_per_cpu_s;
}

/// One endless stream with a full window.
json::object measure_stream(engine::Model& model, const PaperOptions& options, std::int64_t cache_size) {
  StreamBatch stream(model, options.run.prompt(), options.run.cache(), 1, {kSinks, cache_size - kSinks});
  stream.fill();
  const StepLatencies latencies = stream.time_decoding(options.stream_steps, kWarmupSteps);
  return {{"cache_size", cache_size},
          {"step_ms", to_json(latencies)},
          {"session_bytes", stream.cache_bytes()},
          {"memory_bytes", model.weights.bytes() + stream.cache_bytes()}};
}

/// One model: the batch that fits, and its streams. Neither is measured when this machine lacks the memory.
json::object measure_model(const PaperOptions& options, const Experiment& experiment, const PaperShape& shape,
                           const std::string& layer_types) {
  const auto config = random_model_config(shape.shape, layer_types);
  const cache::CacheShape cached = engine::cache_shape(config, options.run.cache());
  const std::size_t weights = engine::weight_bytes(config, experiment.weights);
  const std::size_t session = cache::CondensedCache::bytes_when_full(cached, {0, experiment.lengths.total()});
  const std::int64_t batch = engine::largest_batch(shape.memory_bytes, weights, session);
  json::object row{{"shape", shape.shape},
                   {"layer_types", layer_types},
                   {"layers", config.n_layers},
                   {"owners", cached.n_owners},
                   {"weight_bytes", weights},
                   {"session_bytes", session},
                   {"memory_bytes", shape.memory_bytes},
                   {"batch", batch}};
  std::size_t caches = static_cast<std::size_t>(batch) * session;
  for (const std::int64_t size : options.cache_sizes) {
    caches = std::max(caches, cache::CondensedCache::bytes_when_full(cached, {kSinks, size - kSinks}));
  }
  const std::int64_t needed = static_cast<std::int64_t>(weights + caches) + kMemoryToSpare;
  const std::int64_t available = available_memory_bytes();
  row["measured"] = available >= needed;
  row["streams"] = json::array();
  if (available < needed) {
    row["why_not_measured"] = "needs " + std::to_string(needed >> 20) + " MiB, the machine has " +
                              std::to_string(available >> 20) + " MiB available";
    return row;
  }
  say(shape.shape + ", " + layer_types + ": a batch of " + std::to_string(batch));
  const auto model = options.run.make([&](std::unique_ptr<kernels::Backend> backend) {
    return random_model(shape.shape, layer_types, experiment.weights, std::move(backend));
  });
  row["backend"] = model->backend->name();
  if (batch > 0) {
    measure_batch(*model, options, experiment.lengths, row);
  }
  for (const std::int64_t cache_size : options.cache_sizes) {
    row["streams"].as_array().push_back(measure_stream(*model, options, cache_size));
  }
  return row;
}

}  // namespace

void run_paper(const PaperOptions& options) {
  const Experiment experiment = checked(options);
  check_outputs(options.outputs);
  json::object report{{"lengths", options.lengths},
                      {"weights", options.run.weights},
                      {"cache_dtype", options.run.cache_dtype},
                      {"timed_steps", options.steps},
                      {"timed_stream_steps", options.stream_steps},
                      {"sinks", kSinks},
                      {"machine", machine_json()}};
  json::array models;
  for (const PaperShape& shape : experiment.shapes) {
    for (const std::string& layer_types : options.layer_types) {
      models.push_back(measure_model(options, experiment, shape, layer_types));
    }
  }
  report["models"] = std::move(models);
  report["load_at_end"] = load_json();
  show_paper(options, report);
  write_json(options.outputs, report);
}

}  // namespace condensed::eval
