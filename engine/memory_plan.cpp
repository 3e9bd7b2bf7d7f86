#include "engine/memory_plan.h"

#include <cstdio>

#include "engine/layer_plan.h"

namespace condensed::engine {

namespace {

std::string gigabytes(std::size_t bytes) {
  char text[40];
  std::snprintf(text, sizeof(text), bytes < 10'000'000 ? "%.4f GB" : "%.2f GB",
                static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

std::size_t weight_bytes(const ModelConfig& config, const WeightFormat& format) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.n_kv_heads} * config.head_dim;
  const auto of_layers = [&](std::int64_t rows, std::int64_t cols) {
    return rows * kernels::row_bytes(format.layers, cols);
  };
  const std::int64_t embedding =
      std::int64_t{config.vocab_size} * kernels::row_bytes(format.embedding, hidden);
  const std::int64_t layer = of_layers(q_dim, hidden) + of_layers(hidden, q_dim) +
                             2 * of_layers(intermediate, hidden) + of_layers(hidden, intermediate);
  const std::int64_t keys_and_values = 2 * of_layers(kv_dim, hidden);
  const std::int64_t norms = (2 * config.n_layers + 1) * hidden * static_cast<std::int64_t>(sizeof(float));
  return static_cast<std::size_t>(norms + (config.tie_word_embeddings ? 1 : 2) * embedding +
                                  config.n_layers * layer +
                                  make_layer_plan(config).n_owners() * keys_and_values);
}

cache::CacheShape cache_shape(const ModelConfig& config, kernels::DType cache_dtype) {
  return {.n_owners = make_layer_plan(config).n_owners(),
          .n_kv_heads = config.n_kv_heads,
          .head_dim = config.head_dim,
          .dtype = cache_dtype};
}

std::int64_t largest_batch(std::int64_t memory_bytes, std::size_t weight_bytes, std::size_t session_bytes) {
  const std::int64_t left = memory_bytes - static_cast<std::int64_t>(weight_bytes);
  return left < 0 ? 0 : left / static_cast<std::int64_t>(session_bytes);
}

std::size_t workspace_bytes_per_row(const ModelConfig& config) {
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.n_kv_heads} * config.head_dim;
  const std::int64_t n_owners = make_layer_plan(config).n_owners();
  const std::int64_t doubles = 2 * std::int64_t{config.hidden_size};
  const std::int64_t floats = config.hidden_size + 3 * q_dim + (2 + 2 * n_owners) * kv_dim +
                              config.intermediate_size + 4 * config.head_dim + config.vocab_size;
  return static_cast<std::size_t>(doubles) * sizeof(double) +
         static_cast<std::size_t>(floats) * sizeof(float);
}

MemoryPlan plan_memory(const ModelConfig& config, const WeightFormat& format, kernels::DType cache_dtype,
                       const cache::StreamWindow& window, std::int64_t max_rows) {
  return {.weights = weight_bytes(config, format),
          .workspace = static_cast<std::size_t>(max_rows) * workspace_bytes_per_row(config),
          .session = cache::CondensedCache::bytes_when_full(cache_shape(config, cache_dtype), window)};
}

std::int64_t MemoryPlan::sessions_in(std::size_t memory_bytes) const {
  return largest_batch(static_cast<std::int64_t>(memory_bytes), fixed(), session);
}

std::string MemoryPlan::explain(std::size_t memory_bytes) const {
  std::string text = gigabytes(weights) + " of weights and " + gigabytes(workspace) + " of workspace, ";
  if (kept > 0) {
    text += "and " + gigabytes(kept) + " for what steps take beside, ";
  }
  text += "of " + gigabytes(memory_bytes) + " that are free, ";
  if (fixed() > memory_bytes) {
    return text + "lack " + gigabytes(fixed() - memory_bytes);
  }
  return text + "leave " + gigabytes(memory_bytes - fixed()) + ": room for " +
         std::to_string(sessions_in(memory_bytes)) + " sessions of " + gigabytes(session) + " each";
}

}  // namespace condensed::engine
