#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace condensed::engine {

/// How a token is drawn from the logits. Applied in this order: logit bias, penalties, temperature, top-k,
/// top-p, min-p, draw.
struct SamplingOptions {
  double temperature = 1.0;         // 0: greedy, ties to the lowest id
  int top_k = 0;                    // 0: off
  double top_p = 1.0;               // (0, 1]
  double min_p = 0.0;               // [0, 1]: keeps tokens at least min_p times as likely as the likeliest
  double repetition_penalty = 1.0;  // > 0: divides positive logits, multiplies negative (arXiv 1909.05858)
  double presence_penalty = 0.0;    // subtracted once from every token seen
  double frequency_penalty = 0.0;   // subtracted for every time it was seen
  int penalty_window = 64;          // how many of the latest tokens the penalties look at, 0 … 1024
  std::vector<std::pair<std::int32_t, float>> logit_bias;
  std::optional<std::uint64_t> seed;  // absent: drawn by the engine
};

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0;
};

}  // namespace condensed::engine
