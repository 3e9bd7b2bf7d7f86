#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "cache/condensed_cache.h"
#include "engine/model.h"
#include "engine/prompt_options.h"
#include "engine/prompt_planner.h"
#include "engine/transformer.h"

namespace condensed::eval {

/// logits: [vocab_size] after token `index` of those read.
using OnLogits = std::function<void(std::size_t index, std::span<const float> logits)>;

/// Reads one stream through a model and hands out the logits after every token.
class StreamReader {
 public:
  /// skip: how far the stream position jumps once the sinks are full (to look at positions far along a
  /// stream).
  StreamReader(engine::Model& model, const cache::StreamWindow& window, kernels::DType cache_dtype,
               const engine::PromptOptions& prompt, std::int64_t skip = 0);

  void read(std::span<const std::int32_t> tokens, const OnLogits& on_logits);

  const cache::CondensedCache& cache() const { return cache_; }

 private:
  std::int64_t vocab_size_;
  engine::PromptOptions prompt_;
  std::int64_t skip_;
  engine::Transformer transformer_;
  engine::PromptPlanner planner_;
  cache::CondensedCache cache_;
};

}  // namespace condensed::eval
