#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cache/condensed_cache.h"
#include "engine/model_config.h"
#include "engine/weight_format.h"

namespace condensed::engine {

/// The memory of all weights of a model, without making it.
std::size_t weight_bytes(const ModelConfig& config, const WeightFormat& format);
/// What a token takes in the caches of the layers that own one.
cache::CacheShape cache_shape(const ModelConfig& config, kernels::DType cache_dtype);
/// What a Transformer of that model takes for each row that it may run at once.
std::size_t workspace_bytes_per_row(const ModelConfig& config);

/// How many sessions fit beside the weights; 0 if not one does.
std::int64_t largest_batch(std::int64_t memory_bytes, std::size_t weight_bytes, std::size_t session_bytes);

/// What a model and its sessions take on a device.
struct MemoryPlan {
  std::size_t weights = 0;
  std::size_t workspace = 0;  // of the largest step
  std::size_t session = 0;    // the cache of a session whose window is full
  std::size_t kept = 0;       // of the device's memory, for what steps take beside

  /// Whatever the number of sessions.
  std::size_t fixed() const { return weights + workspace + kept; }

  std::int64_t sessions_in(std::size_t memory_bytes) const;
  /// The arithmetic of what fits, in one line: how much for what, and how many sessions.
  std::string explain(std::size_t memory_bytes) const;
};

MemoryPlan plan_memory(const ModelConfig& config, const WeightFormat& format, kernels::DType cache_dtype,
                       const cache::StreamWindow& window, std::int64_t max_rows);

}  // namespace condensed::engine
