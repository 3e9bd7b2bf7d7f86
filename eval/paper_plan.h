#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cache/condensed_cache.h"
#include "engine/model_config.h"
#include "engine/weight_format.h"

namespace condensed::eval {

/// One of the paper's models, and the memory that its weights and sessions may take.
struct PaperShape {
  std::string shape;  // as random_model_config() takes it
  std::int64_t memory_bytes = 0;
};
/// "SHAPE=SIZE", the size as in 8GiB, 512MiB or 1000000. Throws InputError.
PaperShape parse_paper_shape(const std::string& text);

/// Tokens of a prompt and of what is generated after it.
struct Lengths {
  std::int64_t prompt = 0;
  std::int64_t generated = 0;

  std::int64_t total() const { return prompt + generated; }
};
/// "5+2043". Throws InputError.
Lengths parse_lengths(const std::string& text);

/// The memory of all weights of a model, without making it.
std::size_t weight_bytes(const engine::ModelConfig& config, const engine::WeightFormat& format);
/// What a token takes in the caches of the layers that own one.
cache::CacheShape cache_shape(const engine::ModelConfig& config, kernels::DType cache_dtype);

/// How many sessions fit beside the weights; 0 if not one does.
std::int64_t largest_batch(std::int64_t memory_bytes, std::size_t weight_bytes, std::size_t session_bytes);

}  // namespace condensed::eval
