#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/condensed_cache.h"
#include "cache/rotary_phase.h"
#include "engine/model.h"
#include "engine/prompt_options.h"

namespace condensed::engine {

/// Which tokens of a slice need the output layer; token: the last, and of its logits only the token that is
/// chosen from them.
enum class LogitsFor : std::uint8_t { none, last, all, token };

/// The next tokens of one stream.
struct Slice {
  cache::CondensedCache* cache = nullptr;
  std::span<const std::int32_t> tokens;  // at least 1; each in [0, vocab_size)
  LogitsFor logits_for = LogitsFor::none;
  kernels::TokenChoice choice;  // for LogitsFor::token
};

/// The forward pass, for a batch of streams at once (docs/design.md, "One step"). A stream's numbers do not
/// depend on what else is in the batch. One thread calls at a time.
class Transformer {
 public:
  /// max_rows: tokens in one step, all slices together. cache_dtype: of the caches that slices bring.
  Transformer(Model& model, std::int64_t max_rows, kernels::DType cache_dtype = kernels::DType::f32);
  ~Transformer();

  cache::CacheShape cache_shape() const;
  std::int64_t max_rows() const;

  /// Runs every slice on top of its cache; its tokens then join the cache. Slices have distinct caches.
  /// Slices of one token are exact; longer ones iterate through cyclic layer stages as `prompt` says.
  void run(std::span<const Slice> slices, const PromptOptions& prompt);

  /// Whether the caches of the last run()'s slices are whole. Not so after an exception of the backend while
  /// tokens joined them; after one before that they are as they were.
  bool caches_intact() const;

  /// Of the last run(), in the order of slices and their tokens: [rows asked for, vocab_size], host memory.
  std::span<const float> logits() const;
  /// Of the last run(): the token (kernels::Backend::choose_tokens) of each slice that asked for it, in
  /// order.
  std::span<const std::int32_t> chosen_tokens() const;
  /// Iterations of the last run(), the most that any slice took (1 without cyclic stages).
  std::int64_t passes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace condensed::engine
