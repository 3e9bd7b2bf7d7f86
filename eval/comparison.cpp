#include "eval/comparison.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "engine/input_error.h"
#include "eval/statistics.h"
#include "eval/text_scores.h"

namespace condensed::eval {

namespace json = boost::json;

namespace {

// Losses of neighbouring tokens are alike, means of long parts hardly: intervals come from these.
constexpr std::size_t kBatches = 30;
// Parts that grow with their position show what happens when a window first fills and far behind it alike.
constexpr std::size_t kFirstGrowing = 16;

template <typename T>
void refuse_repetition(const char* flag, const std::vector<T>& values, auto&& text) {
  std::set<T> seen;
  for (const T& value : values) {
    if (!seen.insert(value).second) {
      throw engine::InputError(std::string(flag) + " lists " + text(value) + " twice: list each once");
    }
  }
}

TextScores score(engine::Model& model, const PerplexityOptions& options, const ComparedCache& compared,
                 std::span<const std::int32_t> tokens) {
  const RunOptions& run = options.run;
  if (compared.kind == "dense-recompute") {
    const std::int64_t n_context = compared.window.capacity();
    return score_recomputed(model, run.cache(), tokens,
                            segment_targets(tokens.size(), n_context, options.segments), n_context);
  }
  if (compared.kind == "dense") {
    tokens = tokens.first(static_cast<std::size_t>(compared.window.window));
  }
  return score_stream(model, compared.window, run.cache(), run.prompt(), tokens);
}

/// How much worse (above 0) or better than the first cache, on the tokens both scored; null if none.
json::value difference(const PairedLosses& paired, const TextScores& differences) {
  if (differences.losses.empty()) {
    return nullptr;
  }
  Estimate estimate = estimate_mean(batch_means(differences.losses, kBatches));
  estimate.value = mean(differences.losses);  // parts differ in length by one token
  return json::object{
      {"tokens", differences.losses.size()},
      {"first_perplexity", std::exp(mean(paired.first))},
      {"nll", estimate.value},
      {"nll_95", interval_json(estimate)},
      {"perplexity_ratio", std::exp(estimate.value)},
      {"perplexity_ratio_95",
       interval_json({.value = 0, .low = std::exp(estimate.low), .high = std::exp(estimate.high)})}};
}

/// nll of the part that begins at this position.
const json::value* nll_at(const json::array& parts, const json::value& position) {
  const auto* part = std::ranges::find_if(
      parts, [&](const json::value& candidate) { return candidate.at("position") == position; });
  return part == parts.end() ? nullptr : &part->at("nll");
}

using PartEnd = std::function<std::size_t(std::size_t begin)>;

/// Scores by parts. Those of a sample are moved by which tokens happen to be in it. How it differs from the
/// first cache on the same tokens is not, so that difference on top of the first's own part is the better
/// estimate: nll_adjusted, where the first cache scored the whole part.
json::array parts_of(const TextScores& scores, const TextScores& differences, const json::array* first_parts,
                     std::size_t begin, const PartEnd& end_of) {
  json::array parts = summaries_by_position(scores, begin, end_of);
  const json::array part_differences = summaries_by_position(differences, begin, end_of);
  for (json::value& part : parts) {
    const json::value& position = part.at("position");
    const json::value* first = first_parts != nullptr ? nll_at(*first_parts, position) : nullptr;
    const json::value* moved = nll_at(part_differences, position);
    if (first != nullptr && moved != nullptr) {
      part.as_object()["nll_adjusted"] = first->as_double() + moved->as_double();
    }
  }
  return parts;
}

TextScores difference_of(const PairedLosses& paired) {
  TextScores differences{.positions = paired.positions};
  for (std::size_t i = 0; i < paired.positions.size(); ++i) {
    differences.losses.push_back(paired.second[i] - paired.first[i]);
  }
  return differences;
}

}  // namespace

std::vector<ComparedCache> compared_caches(const PerplexityOptions& options, std::int64_t n_dense) {
  const std::int64_t capacity = std::ranges::max(options.sinks) + options.run.window.value_or(kDefaultWindow);
  const std::string size = std::to_string(capacity);
  std::vector<ComparedCache> caches;
  for (const std::string& kind :
       options.compare.empty() ? std::vector<std::string>{"sinks"} : options.compare) {
    if (kind == "sinks") {
      for (const std::int64_t sinks : options.sinks) {
        const std::int64_t window = capacity - sinks;
        caches.push_back(
            {std::to_string(sinks) + " sinks + window " + std::to_string(window), kind, {sinks, window}});
      }
    } else if (kind == "window-only") {
      caches.push_back({"window " + size + ", no sinks", kind, {0, capacity}});
    } else if (kind == "dense-recompute") {
      caches.push_back({"latest " + size + " recomputed", kind, {0, capacity}});
    } else {
      caches.push_back({"dense, never evicts", kind, {0, n_dense}});
    }
  }
  return caches;
}

void check_comparison(const PerplexityOptions& options) {
  refuse_repetition("--compare", options.compare, [](const std::string& kind) { return kind; });
  refuse_repetition("--sinks", options.sinks, [](std::int64_t sinks) { return std::to_string(sinks); });
  if (options.dense_tokens == 1) {
    throw engine::InputError("--dense-tokens 1: nothing is predicted; expected 2 or more, or 0 for all");
  }
  if (options.compare.empty() && options.cache != "sinks") {
    throw engine::InputError("--cache " + options.cache +
                             " takes one number of --sinks; several caches are what --compare is for");
  }
}

json::object compare_caches(engine::Model& model, const PerplexityOptions& options,
                            std::span<const std::int32_t> tokens) {
  const auto n_tokens = static_cast<std::int64_t>(tokens.size());
  const std::int64_t n_dense = options.dense_tokens > 0 ? std::min(options.dense_tokens, n_tokens) : n_tokens;
  const std::size_t every = options.every > 0 ? static_cast<std::size_t>(options.every)
                                              : std::max<std::size_t>(1, tokens.size() / 40);
  const std::vector<ComparedCache> all = compared_caches(options, n_dense);
  for (const ComparedCache& compared : all) {
    if (compared.kind == "dense-recompute") {  // refuses a text that is too short before the long part
      segment_targets(tokens.size(), compared.window.capacity(), options.segments);
    }
  }
  json::array caches;
  TextScores first;
  std::string first_kind;
  for (const ComparedCache& compared : all) {
    TextScores scores = score(model, options, compared, tokens);
    json::object out{{"name", compared.name}, {"kind", compared.kind}};
    if (compared.kind != "dense") {
      out["sinks"] = compared.window.sinks;
      out["window"] = compared.window.window;
    }
    json::object whole = summary(scores.losses);
    whole["bits_per_byte"] = bits_per_byte(model, tokens, scores);
    out.insert(whole.begin(), whole.end());
    const PairedLosses paired = paired_losses(first, scores);
    const TextScores differences = difference_of(paired);
    const bool adjusts =
        compared.kind == "dense-recompute" && (first_kind == "sinks" || first_kind == "window-only");
    const auto add_parts = [&](const char* key, std::size_t begin, const PartEnd& end_of) {
      const json::array* first_parts = adjusts ? &caches[0].at(key).as_array() : nullptr;
      out[key] = parts_of(scores, differences, first_parts, begin, end_of);
    };
    add_parts("parts", 0, [&](std::size_t begin) { return begin + every; });
    add_parts("growing_parts", kFirstGrowing, [](std::size_t begin) { return begin + begin / 2; });
    if (caches.empty()) {
      first = std::move(scores);
      first_kind = compared.kind;
    } else {
      out["against_first"] = difference(paired, differences);
    }
    caches.push_back(std::move(out));
  }
  json::object report{
      {"tokens", tokens.size()},
      {"capacity", std::ranges::max(options.sinks) + options.run.window.value_or(kDefaultWindow)},
      {"trained_positions", model.config.max_position_embeddings},
      {"every", every}};
  report["caches"] = std::move(caches);
  return report;
}

}  // namespace condensed::eval
