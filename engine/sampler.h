#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <pcg_random.hpp>

#include "engine/sampling.h"
#include "kernels/token_choice.h"

namespace condensed::engine {

/// Throws InputError for options out of their range or a biased token outside the vocabulary, naming the
/// option, its range and the value.
void check_sampling(const SamplingOptions& options, int vocab_size);

/// Draws the tokens of one generation. The same seed and logits give the same tokens, whatever else runs.
class Sampler {
 public:
  /// Throws as check_sampling() does. `seed` is used when options.seed is absent.
  Sampler(const SamplingOptions& options, int vocab_size, std::uint64_t seed);

  /// Where the random generator stands.
  struct RandomState {
    std::uint64_t seed = 0;
    std::uint64_t n_drawn = 0;
  };
  const RandomState& random_state() const { return random_state_; }
  void set_random_state(const RandomState& state);

  /// A token in [0, vocab_size) that the penalties count: one of the prompt, or one drawn earlier.
  void observe(std::int32_t token);

  /// How the next token is chosen from its logits, whoever does it; the same until observe() or count_draw().
  kernels::TokenChoice choice() const;
  /// A token has been chosen so.
  void count_draw();

  /// Both, on the processor. logits: [vocab_size]. Allocates nothing but the first time.
  std::int32_t draw(std::span<const float> logits);

 private:
  bool penalises() const;
  void adjust(std::int32_t token, float bias, std::int32_t count);

  SamplingOptions options_;
  RandomState random_state_;
  pcg64 random_;
  std::vector<std::int32_t> recent_;  // ring of the last penalty_window tokens
  std::size_t n_observed_ = 0;
  std::vector<kernels::LogitAdjustment> adjustments_;  // of the biased and the recent tokens, by id
  std::vector<float> logits_;                          // [vocab_size], once draw() has needed them
  kernels::ChoiceSpace space_;
};

/// Log-probability of `token`, and of the n likeliest tokens (likeliest first, ties to the lowest id), under
/// the softmax of the raw logits.
TokenLogprob logprob_of(std::span<const float> logits, std::int32_t token);
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int n);

}  // namespace condensed::engine
