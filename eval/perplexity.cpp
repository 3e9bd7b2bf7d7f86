#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/input_error.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "eval/commands.h"
#include "eval/progress.h"
#include "eval/stream_reader.h"
#include "eval/token_source.h"

namespace condensed::eval {

namespace {

namespace json = boost::json;

/// losses[i]: negative log-likelihood, in nats, of token i + 1 given those before it.
using Losses = std::vector<double>;

double mean(std::span<const double> losses) {
  double sum = 0;
  for (const double loss : losses) {
    sum += loss;
  }
  return losses.empty() ? 0 : sum / static_cast<double>(losses.size());
}

json::object scores(std::span<const double> losses) {
  return {{"tokens", losses.size()}, {"nll", mean(losses)}, {"perplexity", std::exp(mean(losses))}};
}

/// Scores along the stream, `every` tokens at a time. Position counts scored tokens.
json::array scores_by_position(const Losses& losses, std::int64_t every) {
  json::array out;
  const auto step = static_cast<std::size_t>(every);
  for (std::size_t first = 0; first < losses.size(); first += step) {
    json::object part = scores(std::span(losses).subspan(first, std::min(step, losses.size() - first)));
    part["position"] = first;
    out.push_back(std::move(part));
  }
  return out;
}

Losses stream_losses(engine::Model& model, const cache::StreamWindow& window, kernels::DType cache_dtype,
                     const engine::PromptOptions& prompt, std::span<const std::int32_t> tokens) {
  Losses losses;
  losses.reserve(tokens.size());
  StreamReader reader(model, window, cache_dtype, prompt);
  Progress progress("tokens", static_cast<std::int64_t>(tokens.size()));
  reader.read(tokens.first(tokens.size() - 1), [&](std::size_t index, std::span<const float> logits) {
    losses.push_back(-static_cast<double>(engine::logprob_of(logits, tokens[index + 1]).logprob));
    progress.advance();
  });
  return losses;
}

/// The loss of each of `targets` with the `n_context` + 1 tokens before it recomputed from nothing: the
/// StreamingLLM paper's yardstick. What a streamed token sees, too, is n_context cached ones and itself.
Losses recomputed_losses(engine::Model& model, std::span<const std::int32_t> tokens,
                         std::span<const std::size_t> targets, std::int64_t n_context) {
  constexpr std::size_t kBatch = 32;
  const auto vocab_size = static_cast<std::size_t>(model.config.vocab_size);
  engine::Transformer transformer(model, kBatch);
  Losses losses;
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
      const auto logits = transformer.logits().subspan(i * vocab_size, vocab_size);
      losses.push_back(-static_cast<double>(engine::logprob_of(logits, tokens[batch[i]]).logprob));
    }
    progress.advance(static_cast<std::int64_t>(batch.size()));
  }
  return losses;
}

/// `segments` runs of `segment_tokens` tokens, spread evenly over the stream, none before the window is full.
std::vector<std::size_t> segment_targets(std::size_t n_tokens, std::int64_t n_context,
                                         const PerplexityOptions& options) {
  const auto first = static_cast<std::size_t>(n_context) + 1;
  const auto length = static_cast<std::size_t>(options.segment_tokens);
  const auto count = static_cast<std::size_t>(options.segments);
  if (n_tokens < first + count * length) {
    throw engine::InputError(options.text.string() + ": " + std::to_string(n_tokens) +
                             " tokens are too few for " + std::to_string(count) + " segments of " +
                             std::to_string(length) + " after the first " + std::to_string(first));
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

/// Recomputation is too slow for every token: segments are compared with the sinks' losses on the same
/// tokens.
json::object compare_recomputed(engine::Model& model, const PerplexityOptions& options,
                                std::span<const std::int32_t> tokens, const cache::StreamWindow& window,
                                kernels::DType cache_dtype, const engine::PromptOptions& prompt) {
  const std::vector<std::size_t> targets = segment_targets(tokens.size(), window.capacity(), options);
  const Losses recomputed = recomputed_losses(model, tokens, targets, window.capacity());
  const Losses all = stream_losses(model, window, cache_dtype, prompt, tokens);
  Losses streamed;
  for (const std::size_t target : targets) {
    streamed.push_back(all[target - 1]);
  }
  const auto length = static_cast<std::size_t>(options.segment_tokens);
  json::array by_segment;
  for (std::size_t first = 0; first < targets.size(); first += length) {
    by_segment.push_back({{"position", targets[first]},
                          {"perplexity", std::exp(mean(std::span(recomputed).subspan(first, length)))},
                          {"sinks_perplexity", std::exp(mean(std::span(streamed).subspan(first, length)))}});
  }
  json::object out = scores(recomputed);
  out["sinks_nll"] = mean(streamed);
  out["sinks_perplexity"] = std::exp(mean(streamed));
  out["sinks_over_recomputed"] = std::exp(mean(streamed) - mean(recomputed));
  out["segments"] = std::move(by_segment);
  return out;
}

}  // namespace

json::object run_perplexity(const PerplexityOptions& options) {
  const RunOptions& run = options.run;
  const auto model = run.load();
  const std::int64_t limit =
      options.max_tokens > 0 ? options.max_tokens : std::numeric_limits<std::int64_t>::max();
  const std::vector<std::int32_t> tokens = read_text_tokens(*model, options.text, options.bos, limit);
  if (tokens.size() < 2) {
    throw engine::InputError(options.text.string() + ": has fewer than two tokens, nothing to predict");
  }
  cache::StreamWindow window{run.sinks.value_or(4), run.window.value_or(1020)};
  if (options.cache == "window-only") {
    window = {0, window.capacity()};  // the same memory, all of it for the latest tokens
  }
  const engine::PromptOptions prompt = run.prompt();
  const kernels::DType dtype = run.cache();

  json::object report{{"model", model->name},          {"backend", std::string(model->backend->name())},
                      {"text", options.text.string()}, {"cache", options.cache},
                      {"sinks", window.sinks},         {"window", window.window},
                      {"prefill", run.prefill},        {"bos", options.bos},
                      {"weights", run.weights},        {"cache_dtype", run.cache_dtype}};
  json::object result;
  if (options.cache == "dense-recompute") {
    result = compare_recomputed(*model, options, tokens, window, dtype, prompt);
  } else {
    const Losses losses = stream_losses(*model, window, dtype, prompt, tokens);
    const auto n_tokens = static_cast<std::int64_t>(tokens.size());
    result = scores(losses);
    result["parts"] = scores_by_position(
        losses, options.every > 0 ? options.every : std::max<std::int64_t>(1, n_tokens / 8));
  }
  report.insert(result.begin(), result.end());
  return report;
}

}  // namespace condensed::eval
