#include "eval/text_scores.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "engine/input_error.h"
#include "engine/sampler.h"
#include "engine/tokenizer.h"
#include "engine/transformer.h"
#include "eval/progress.h"
#include "eval/statistics.h"
#include "eval/stream_reader.h"

namespace condensed::eval {

namespace {

double loss_of(std::span<const float> logits, std::int32_t token) {
  return -static_cast<double>(engine::logprob_of(logits, token).logprob);
}

}  // namespace

TextScores score_stream(engine::Model& model, const cache::StreamWindow& window, kernels::DType cache_dtype,
                        const engine::PromptOptions& prompt, std::span<const std::int32_t> tokens) {
  TextScores scores;
  scores.positions.reserve(tokens.size());
  scores.losses.reserve(tokens.size());
  StreamReader reader(model, window, cache_dtype, prompt);
  Progress progress("tokens", static_cast<std::int64_t>(tokens.size()));
  reader.read(tokens.first(tokens.size() - 1), [&](std::size_t index, std::span<const float> logits) {
    scores.positions.push_back(index);
    scores.losses.push_back(loss_of(logits, tokens[index + 1]));
    progress.advance();
  });
  return scores;
}

std::vector<std::size_t> segment_targets(std::size_t n_tokens, std::int64_t n_context,
                                         const Segments& segments) {
  const auto first = static_cast<std::size_t>(n_context) + 1;
  const auto length = static_cast<std::size_t>(segments.length);
  const auto count = static_cast<std::size_t>(segments.count);
  if (n_tokens < first + count * length) {
    throw engine::InputError("the text's " + std::to_string(n_tokens) + " tokens are too few for " +
                             std::to_string(count) + " segments of " + std::to_string(length) +
                             " after the first " + std::to_string(first) +
                             ": give a longer text, a smaller cache, or fewer --segments");
  }
  std::vector<std::size_t> targets;
  const std::size_t stride = count > 1 ? (n_tokens - first - length) / (count - 1) : 0;
  for (std::size_t segment = 0; segment < count; ++segment) {
    for (std::size_t i = 0; i < length; ++i) {
      targets.push_back(first + segment * stride + i);
    }
  }
  return targets;
}

TextScores score_recomputed(engine::Model& model, kernels::DType cache_dtype,
                            std::span<const std::int32_t> tokens, std::span<const std::size_t> targets,
                            std::int64_t n_context) {
  constexpr std::size_t kBatch = 32;
  const auto vocab_size = static_cast<std::size_t>(model.config.vocab_size);
  engine::Transformer transformer(model, kBatch, cache_dtype);
  TextScores scores;
  Progress progress("recomputed tokens", static_cast<std::int64_t>(targets.size()));
  for (std::size_t first = 0; first < targets.size(); first += kBatch) {
    const auto batch = targets.subspan(first, std::min(kBatch, targets.size() - first));
    std::vector<cache::CondensedCache> caches;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      caches.emplace_back(*model.backend, transformer.cache_shape(), cache::StreamWindow{0, n_context + 1});
    }
    for (std::int64_t back = n_context + 1; back >= 1; --back) {
      std::vector<engine::Slice> slices;
      for (std::size_t i = 0; i < batch.size(); ++i) {
        slices.push_back({.cache = &caches[i],
                          .tokens = tokens.subspan(batch[i] - static_cast<std::size_t>(back), 1),
                          .logits_for = back == 1 ? engine::LogitsFor::last : engine::LogitsFor::none});
      }
      transformer.run(slices, {});
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      scores.positions.push_back(batch[i] - 1);
      scores.losses.push_back(
          loss_of(transformer.logits().subspan(i * vocab_size, vocab_size), tokens[batch[i]]));
    }
    progress.advance(static_cast<std::int64_t>(batch.size()));
  }
  return scores;
}

PairedLosses paired_losses(const TextScores& first, const TextScores& second) {
  PairedLosses paired;
  std::size_t a = 0;
  std::size_t b = 0;
  while (a < first.positions.size() && b < second.positions.size()) {
    if (first.positions[a] == second.positions[b]) {
      paired.positions.push_back(first.positions[a]);
      paired.first.push_back(first.losses[a]);
      paired.second.push_back(second.losses[b]);
    }
    const bool next_a = first.positions[a] <= second.positions[b];
    const bool next_b = second.positions[b] <= first.positions[a];
    a += next_a ? 1 : 0;
    b += next_b ? 1 : 0;
  }
  return paired;
}

boost::json::value bits_per_byte(const engine::Model& model, std::span<const std::int32_t> tokens,
                                 const TextScores& scores) {
  std::size_t n_bytes = 0;
  for (const std::size_t position : scores.positions) {
    n_bytes += model.tokenizer->bytes(tokens[position + 1]).size();
  }
  if (n_bytes == 0) {
    return nullptr;
  }
  const double bits = mean(scores.losses) * static_cast<double>(scores.losses.size()) / std::numbers::ln2;
  return bits / static_cast<double>(n_bytes);
}

boost::json::object summary(std::span<const double> losses) {
  return {{"tokens", losses.size()}, {"nll", mean(losses)}, {"perplexity", std::exp(mean(losses))}};
}

boost::json::array summaries_by_position(const TextScores& scores, std::size_t first,
                                         const std::function<std::size_t(std::size_t begin)>& end_of) {
  boost::json::array out;
  std::size_t i = 0;
  while (i < scores.positions.size() && scores.positions[i] < first) {
    ++i;
  }
  for (std::size_t begin = first; i < scores.positions.size(); begin = end_of(begin)) {
    const std::size_t from = i;
    while (i < scores.positions.size() && scores.positions[i] < end_of(begin)) {
      ++i;
    }
    if (i > from) {
      boost::json::object part = summary(std::span(scores.losses).subspan(from, i - from));
      part["position"] = begin;
      out.push_back(std::move(part));
    }
  }
  return out;
}

}  // namespace condensed::eval
