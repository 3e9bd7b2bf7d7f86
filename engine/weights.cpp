#include "engine/weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <thread>

#include "engine/input_error.h"
#include "kernels/stored_row.h"

namespace condensed::engine {

namespace {

constexpr std::int64_t kSampledRows = 16;  // of each matrix

class Loader {
 public:
  Loader(WeightSource& source, kernels::Backend& backend, const std::optional<WeightFormat>& format,
         const OnWeightSample& on_sample, Weights& weights)
      : source_(source), backend_(backend), format_(format), on_sample_(on_sample), weights_(weights) {}

  std::unique_ptr<kernels::Matrix> matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
    kernels::MatrixView view = source_.matrix(name, rows, cols);
    if (format_) {
      const kernels::DType wanted = is_of_layer(name) ? format_->layers : format_->embedding;
      if (wanted != view.dtype) {
        view = converted(name, view, wanted);
      }
    }
    if (on_sample_) {
      sample(name, view);
    }
    return backend_.load_matrix(view);
  }

  /// Norm weights are few: they become float32.
  kernels::Memory vector(const std::string& name, std::int64_t size) {
    const std::vector<float> values = source_.vector(name, size);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
    if (on_sample_) {
      on_sample_(std::as_bytes(std::span(name)));
      on_sample_(bytes);
    }
    kernels::Memory memory = backend_.allocate(bytes.size());
    backend_.upload(bytes, {memory.get(), bytes.size()});
    return memory;
  }

 private:
  /// Training moves every weight: some rows tell two checkpoints apart, without reading all of a large one.
  void sample(const std::string& name, const kernels::MatrixView& view) {
    const std::string what = name + " " + std::string(name_of(view.dtype)) + " " + std::to_string(view.rows) +
                             " " + std::to_string(view.cols);
    on_sample_(std::as_bytes(std::span(what)));
    const auto row_bytes = static_cast<std::size_t>(kernels::row_bytes(view.dtype, view.cols));
    for (std::int64_t i = 0; i < kSampledRows; ++i) {
      on_sample_({view.row(view.rows * i / kSampledRows), row_bytes});
    }
  }

  kernels::MatrixView converted(const std::string& name, const kernels::MatrixView& view,
                                kernels::DType dtype) {
    if (kernels::is_quantised(view.dtype)) {
      throw InputError("tensor " + name + ": is stored as " + std::string(name_of(view.dtype)) +
                       " and cannot become " + std::string(name_of(dtype)) +
                       "; use weights = \"stored\", or the original checkpoint");
    }
    const auto bytes = static_cast<std::size_t>(view.rows * kernels::row_bytes(dtype, view.cols));
    const std::span<std::byte> out = weights_.converted.emplace_back(bytes).bytes();
    try {
      convert_rows(view, dtype, out);
    } catch (const InputError& error) {
      throw InputError("tensor " + name + ": " + error.what());
    }
    return {.dtype = dtype, .data = out.data(), .rows = view.rows, .cols = view.cols};
  }

  WeightSource& source_;
  kernels::Backend& backend_;
  const std::optional<WeightFormat>& format_;
  const OnWeightSample& on_sample_;
  Weights& weights_;
};

LayerWeights load_layer(Loader& load, const ModelConfig& config, const LayerStep& step) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.n_kv_heads} * config.head_dim;
  const std::string layer = "model.layers." + std::to_string(step.layer) + ".";

  LayerWeights weights;
  weights.attention_norm = load.vector(layer + "input_layernorm.weight", hidden);
  weights.q_proj = load.matrix(layer + "self_attn.q_proj.weight", q_dim, hidden);
  if (step.owns) {
    weights.k_proj = load.matrix(layer + "self_attn.k_proj.weight", kv_dim, hidden);
    weights.v_proj = load.matrix(layer + "self_attn.v_proj.weight", kv_dim, hidden);
  }
  weights.o_proj = load.matrix(layer + "self_attn.o_proj.weight", hidden, q_dim);
  weights.mlp_norm = load.vector(layer + "post_attention_layernorm.weight", hidden);
  weights.gate_proj = load.matrix(layer + "mlp.gate_proj.weight", intermediate, hidden);
  weights.up_proj = load.matrix(layer + "mlp.up_proj.weight", intermediate, hidden);
  weights.down_proj = load.matrix(layer + "mlp.down_proj.weight", hidden, intermediate);
  return weights;
}

}  // namespace

Weights load_weights(WeightSource& source, const LayerPlan& plan, kernels::Backend& backend,
                     const std::optional<WeightFormat>& format, const OnWeightSample& on_sample) {
  const ModelConfig& config = source.config();
  Weights weights;
  Loader load(source, backend, format, on_sample, weights);
  weights.embedding = load.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  for (const LayerStep& step : plan.layers) {
    weights.layers.push_back(load_layer(load, config, step));
  }
  weights.final_norm = load.vector("model.norm.weight", config.hidden_size);
  if (!config.tie_word_embeddings) {
    weights.output = load.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  }
  return weights;
}

void convert_rows(const kernels::MatrixView& from, kernels::DType to, std::span<std::byte> out) {
  const std::int64_t n_threads = std::clamp<std::int64_t>(std::thread::hardware_concurrency(), 1,
                                                          std::max<std::int64_t>(1, from.rows / 64));
  const std::int64_t to_bytes = kernels::row_bytes(to, from.cols);
  const bool needs_finite = kernels::is_quantised(to);
  std::atomic<std::int64_t> bad_row{-1};
  const auto convert = [&](std::int64_t first, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(from.cols));
    for (std::int64_t r = first; r < end; ++r) {
      kernels::load_row(from.dtype, from.row(r), row);
      if (needs_finite && !std::ranges::all_of(row, [](float value) { return std::isfinite(value); })) {
        bad_row = r;
        return;
      }
      kernels::store_row(to, row, out.data() + r * to_bytes);
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::int64_t t = 1; t < n_threads; ++t) {
      threads.emplace_back(convert, from.rows * t / n_threads, from.rows * (t + 1) / n_threads);
    }
    convert(0, from.rows / n_threads);
  }
  if (bad_row >= 0) {
    throw InputError("row " + std::to_string(bad_row) +
                     " holds a number that is not finite, which has no quantised form");
  }
}

std::size_t Weights::bytes() const {
  std::size_t total = embedding->bytes() + (output ? output->bytes() : 0);
  for (const LayerWeights& layer : layers) {
    for (const auto* matrix : {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj, &layer.gate_proj,
                               &layer.up_proj, &layer.down_proj}) {
      total += *matrix ? (*matrix)->bytes() : 0;
    }
  }
  const auto hidden = static_cast<std::size_t>(embedding->cols());
  return total + (2 * layers.size() + 1) * hidden * sizeof(float);  // norms
}

}  // namespace condensed::engine
