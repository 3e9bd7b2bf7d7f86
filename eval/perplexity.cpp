// One text as one stream: its perplexity with one kind of cache.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/input_error.h"
#include "engine/model.h"
#include "eval/commands.h"
#include "eval/comparison.h"
#include "eval/report_sections.h"
#include "eval/statistics.h"
#include "eval/text_scores.h"
#include "eval/token_source.h"

namespace condensed::eval {

namespace {

namespace json = boost::json;

/// Recomputation is too slow for every token: segments are compared with the sinks' losses on the same
/// tokens.
json::object compare_recomputed(engine::Model& model, const PerplexityOptions& options,
                                std::span<const std::int32_t> tokens, const cache::StreamWindow& window) {
  const RunOptions& run = options.run;
  const auto targets = segment_targets(tokens.size(), window.capacity(), options.segments);
  const TextScores recomputed = score_recomputed(model, run.cache(), tokens, targets, window.capacity());
  const TextScores streamed = score_stream(model, window, run.cache(), run.prompt(), tokens);
  const PairedLosses paired = paired_losses(recomputed, streamed);
  const auto length = static_cast<std::size_t>(options.segments.length);
  json::array by_segment;
  for (std::size_t first = 0; first < targets.size(); first += length) {
    by_segment.push_back(
        {{"position", targets[first]},
         {"perplexity", std::exp(mean(std::span(paired.first).subspan(first, length)))},
         {"sinks_perplexity", std::exp(mean(std::span(paired.second).subspan(first, length)))}});
  }
  json::object out = summary(paired.first);
  out["bits_per_byte"] = bits_per_byte(model, tokens, recomputed);
  out["sinks_nll"] = mean(paired.second);
  out["sinks_perplexity"] = std::exp(mean(paired.second));
  out["sinks_over_recomputed"] = std::exp(mean(paired.second) - mean(paired.first));
  out["segments"] = std::move(by_segment);
  return out;
}

/// The one cache that was asked for, in JSON.
json::object score_one(engine::Model& model, const PerplexityOptions& options,
                       std::span<const std::int32_t> tokens) {
  const RunOptions& run = options.run;
  cache::StreamWindow window{options.sinks.front(), run.window.value_or(kDefaultWindow)};
  if (options.cache == "window-only") {
    window = {0, window.capacity()};  // the same memory, all of it for the latest tokens
  }
  json::object report{{"cache", options.cache}, {"sinks", window.sinks}, {"window", window.window}};
  json::object result;
  if (options.cache == "dense-recompute") {
    result = compare_recomputed(model, options, tokens, window);
  } else {
    const TextScores scores = score_stream(model, window, run.cache(), run.prompt(), tokens);
    const std::size_t every = options.every > 0 ? static_cast<std::size_t>(options.every)
                                                : std::max<std::size_t>(1, tokens.size() / 8);
    result = summary(scores.losses);
    result["bits_per_byte"] = bits_per_byte(model, tokens, scores);
    result["parts"] = summaries_by_position(scores, 0, [&](std::size_t begin) { return begin + every; });
  }
  report.insert(result.begin(), result.end());
  return report;
}

}  // namespace

void run_perplexity(const PerplexityOptions& options) {
  const bool compares = options.compares();
  if (options.outputs.html && !compares) {
    throw engine::InputError("--html draws a comparison: give --compare, or --sinks with a list");
  }
  if (compares) {
    check_comparison(options);
  }
  check_outputs(options.outputs);
  const RunOptions& run = options.run;
  const auto model = run.load();
  const std::int64_t limit =
      options.max_tokens > 0 ? options.max_tokens : std::numeric_limits<std::int64_t>::max();
  const std::vector<std::int32_t> tokens = read_text_tokens(*model, options.text, options.bos, limit);
  if (tokens.size() < 2) {
    throw engine::InputError(options.text.string() + ": has fewer than two tokens, nothing to predict");
  }
  json::object report{{"model", model->name},
                      {"backend", std::string(model->backend->name())},
                      {"text", options.text.string()},
                      {"prefill", run.prefill},
                      {"bos", options.bos},
                      {"weights", run.weights},
                      {"cache_dtype", run.cache_dtype}};
  json::object result =
      compares ? compare_caches(*model, options, tokens) : score_one(*model, options, tokens);
  report.insert(result.begin(), result.end());
  if (compares) {
    show_comparison(options, report);
  }
  write_json(compares ? options.outputs : ReportOutputs{.json = options.outputs.json.value_or("")}, report);
}

}  // namespace condensed::eval
