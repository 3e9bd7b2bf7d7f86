#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <boost/json.hpp>

#include "cache/condensed_cache.h"
#include "engine/model.h"
#include "engine/prompt_options.h"

namespace condensed::eval {

/// How well tokens of a text were predicted.
struct TextScores {
  std::vector<std::size_t> positions;  // place among the tokens that can be scored; ascending
  std::vector<double> losses;          // negative log-likelihood, in nats
};

/// Every token but the first, given those before it that a cache of this window holds.
/// tokens: at least two.
TextScores score_stream(engine::Model& model, const cache::StreamWindow& window, kernels::DType cache_dtype,
                        const engine::PromptOptions& prompt, std::span<const std::int32_t> tokens);

/// Which tokens to recompute the context of: `count` segments of `length` tokens, spread evenly over the
/// stream, none before `n_context` tokens are behind.
struct Segments {
  std::int64_t count = 16;
  std::int64_t length = 64;
};

/// Indices of tokens. Throws InputError when there are too few tokens.
std::vector<std::size_t> segment_targets(std::size_t n_tokens, std::int64_t n_context,
                                         const Segments& segments);

/// Each of `targets` (indices of tokens, none before n_context + 1) with the n_context + 1 tokens before it
/// read from nothing: the StreamingLLM paper's yardstick. What a streamed token sees, too, is n_context
/// cached ones and itself.
TextScores score_recomputed(engine::Model& model, kernels::DType cache_dtype,
                            std::span<const std::int32_t> tokens, std::span<const std::size_t> targets,
                            std::int64_t n_context);

/// Losses of the positions that both have, side by side.
struct PairedLosses {
  std::vector<std::size_t> positions;
  std::vector<double> first;
  std::vector<double> second;
};
PairedLosses paired_losses(const TextScores& first, const TextScores& second);

/// What the scored tokens' text takes, in bits for each of its bytes: unlike perplexity comparable between
/// tokenizers. tokens: those that were scored from, with the first. The model has a tokenizer. Null if the
/// text has no bytes.
boost::json::value bits_per_byte(const engine::Model& model, std::span<const std::int32_t> tokens,
                                 const TextScores& scores);

/// tokens, nll, perplexity. losses: at least one.
boost::json::object summary(std::span<const double> losses);

/// One such object, with the position where it begins, for each part of the stream that has scores; the
/// first part begins at position `first`, and the next one where end_of(beginning) says.
boost::json::array summaries_by_position(const TextScores& scores, std::size_t first,
                                         const std::function<std::size_t(std::size_t begin)>& end_of);

}  // namespace condensed::eval
