#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "cache/condensed_cache.h"
#include "engine/model.h"
#include "engine/prompt_options.h"
#include "engine/prompt_planner.h"
#include "engine/transformer.h"
#include "eval/step_latencies.h"

namespace condensed::eval {

/// Streams side by side, to measure what their steps cost. One thread calls.
class StreamBatch {
 public:
  /// The model must outlive it.
  StreamBatch(engine::Model& model, const engine::PromptOptions& prompt, kernels::DType cache_dtype,
              std::int64_t n_streams, const cache::StreamWindow& window);

  /// Gives every stream cached tokens until it holds n_tokens, without computing what is in them.
  void fill_to(std::int64_t n_tokens);
  /// Makes every window full, so that the next token evicts one.
  void fill();
  /// Moves every stream on by n positions; the windows are left empty.
  void skip(std::int64_t n);

  /// Reads a prompt of n random tokens into every stream; returns the seconds it took.
  double read_prompts(std::int64_t n);
  /// One token for every stream, chosen greedily.
  void decode();
  /// What decode() takes, n_steps times, after n_warmup that are not timed.
  StepLatencies time_decoding(std::int64_t n_steps, std::int64_t n_warmup);

  /// Of all streams together.
  std::size_t cache_bytes() const;
  /// What a step reads: the caches, and all matrices but the embedding, of which it reads single rows.
  std::size_t bytes_read_per_step() const;
  const cache::CondensedCache& first() const { return caches_.front(); }

 private:
  std::int64_t chunk() const { return prompt_.slice_tokens(prompt_.chunk_tokens); }
  void append_random(cache::CondensedCache& cache, std::int64_t n_tokens);

  engine::Model& model_;
  engine::PromptOptions prompt_;
  engine::Transformer transformer_;
  engine::PromptPlanner planner_;
  std::minstd_rand random_;
  kernels::Memory numbers_;  // what filled caches hold, [kFillRows, n_kv_heads, head_dim] float32
  std::vector<cache::CondensedCache> caches_;
  std::vector<std::int32_t> next_;
  std::vector<engine::Slice> slices_;
};

}  // namespace condensed::eval
