#include "eval/recall_probe.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "engine/input_error.h"
#include "engine/sampler.h"

namespace condensed::eval {

namespace {

// Below this, guessing is too often right to measure anything by.
constexpr std::int64_t kTokensBesideFact = 16;

/// How one stream predicted its value tokens.
struct ValueScore {
  double share_likeliest = 0;
  double log_probability = 0;  // mean
};

std::vector<ValueScore> score_values(const ProbeShape& shape, std::span<const std::int32_t> value,
                                     std::span<const std::vector<std::int32_t>> streams,
                                     const ReadStreams& read) {
  std::vector<ValueScore> scores(streams.size());
  const auto first = static_cast<std::size_t>(shape.query_position());
  const auto n = static_cast<double>(value.size());
  read(streams, first, [&](std::size_t stream, std::size_t index, std::span<const float> logits) {
    const std::int32_t wanted = value[index - first];
    const auto likeliest = std::ranges::max_element(logits) - logits.begin();
    scores[stream].share_likeliest += likeliest == wanted ? 1 / n : 0;
    scores[stream].log_probability += static_cast<double>(engine::logprob_of(logits, wanted).logprob) / n;
  });
  return scores;
}

}  // namespace

std::int64_t ProbeShape::query_position() const {
  const std::int64_t farthest = distances.empty() ? 0 : std::ranges::max(distances);
  const std::int64_t before_facts = std::max<std::int64_t>(window.sinks, 1);  // 1: the first token
  return std::max(before_facts + key_tokens + farthest, window.capacity());
}

FactPlace fact_place(const ProbeShape& shape, std::int64_t distance) {
  // The window holds the last `window` tokens before the one that predicts. Asking moves on by one token for
  // each token of the value, and so does the value's next token: what counts for the key is the last one
  // asked for, and for the value the first.
  if (distance + shape.key_tokens + shape.value_tokens - 1 <= shape.window.window) {
    return FactPlace::inside;
  }
  return distance - (shape.value_tokens - 1) > shape.window.window ? FactPlace::outside : FactPlace::partly;
}

const char* name_of(FactPlace place) {
  switch (place) {
    case FactPlace::inside:
      return "inside";
    case FactPlace::partly:
      return "partly";
    case FactPlace::outside:
      return "outside";
  }
  return "";
}

std::vector<std::int64_t> default_distances(const ProbeShape& shape) {
  const std::int64_t window = shape.window.window;
  const std::int64_t nearest = shape.key_tokens + shape.value_tokens - 1;
  std::set<std::int64_t> distances;
  for (const std::int64_t distance : {nearest, window / 8, window / 4, window / 2, window * 3 / 4,
                                      window - shape.key_tokens - shape.value_tokens + 1,
                                      window + shape.value_tokens, window * 3 / 2, window * 2, window * 4}) {
    distances.insert(std::max(distance, nearest));
  }
  return {distances.begin(), distances.end()};
}

void check_probe(const ProbeShape& shape, int vocab_size) {
  const std::int64_t nearest = shape.key_tokens + shape.value_tokens - 1;
  for (const std::int64_t distance : shape.distances) {
    if (distance < nearest) {
      throw engine::InputError("distance " + std::to_string(distance) + ": a fact of " +
                               std::to_string(shape.key_tokens) + " key and " +
                               std::to_string(shape.value_tokens) + " value tokens can be asked for at " +
                               std::to_string(nearest) + " or more");
    }
  }
  if (vocab_size < shape.key_tokens + shape.value_tokens + kTokensBesideFact) {
    throw engine::InputError("a fact of " + std::to_string(shape.key_tokens + shape.value_tokens) +
                             " distinct tokens leaves fewer than " + std::to_string(kTokensBesideFact) +
                             " others of the model's " + std::to_string(vocab_size) +
                             ": give a shorter --key-tokens or --value-tokens");
  }
}

std::vector<std::int32_t> ProbeTrial::stream_with_fact(const ProbeShape& shape, std::int64_t distance) const {
  std::vector<std::int32_t> stream = control;
  const std::int64_t value_at = shape.query_position() - distance;
  std::ranges::copy(key, stream.begin() + value_at - shape.key_tokens);
  std::ranges::copy(value, stream.begin() + value_at);
  return stream;
}

ProbeMaker::ProbeMaker(const ProbeShape& shape, int vocab_size, std::optional<std::int32_t> first_token,
                       std::vector<std::int32_t> text, std::uint64_t seed)
    : shape_(shape),
      vocab_size_(vocab_size),
      first_token_(first_token),
      text_(std::move(text)),
      random_(seed) {}

// Not a standard distribution: those differ from library to library, and a seed should not.
std::int32_t ProbeMaker::random_below(std::size_t n) {
  return static_cast<std::int32_t>(random_() % n);
}

std::vector<std::int32_t> ProbeMaker::distinct_tokens(std::size_t n) {
  std::vector<std::int32_t> tokens;
  while (tokens.size() < n) {
    const std::int32_t token = random_below(static_cast<std::size_t>(vocab_size_));
    if (token != first_token_ && std::ranges::find(tokens, token) == tokens.end()) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

std::vector<std::int32_t> ProbeMaker::filler(std::span<const std::int32_t> fact) {
  const auto n = static_cast<std::size_t>(shape_.stream_tokens());
  if (!text_.empty()) {
    const std::int32_t begin = random_below(text_.size() - n + 1);
    return {text_.begin() + begin, text_.begin() + begin + static_cast<std::int64_t>(n)};
  }
  std::vector<std::int32_t> tokens;
  while (tokens.size() < n) {
    const std::int32_t token = random_below(static_cast<std::size_t>(vocab_size_));
    if (token != first_token_ && std::ranges::find(fact, token) == fact.end()) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

ProbeTrial ProbeMaker::next() {
  const auto n_key = static_cast<std::ptrdiff_t>(shape_.key_tokens);
  const std::vector<std::int32_t> fact =
      distinct_tokens(static_cast<std::size_t>(shape_.key_tokens + shape_.value_tokens));
  ProbeTrial trial{.key = {fact.begin(), fact.begin() + n_key},
                   .value = {fact.begin() + n_key, fact.end()},
                   .control = filler(fact)};
  if (first_token_) {
    trial.control.front() = *first_token_;
  }
  const auto key_again = trial.control.end() - shape_.value_tokens - shape_.key_tokens + 1;
  std::ranges::copy(trial.key, key_again);
  std::copy(trial.value.begin(), trial.value.end() - 1, key_again + n_key);
  return trial;
}

std::vector<RecallRow> measure_recall(const ProbeShape& shape, ProbeMaker& maker, std::int64_t n_trials,
                                      const ReadStreams& read, const std::function<void()>& on_trial) {
  const std::size_t n_distances = shape.distances.size();
  std::vector<std::vector<double>> shares(n_distances + 1);  // the control's last
  std::vector<std::vector<double>> log_probabilities(n_distances + 1);
  for (std::int64_t n = 0; n < n_trials; ++n) {
    const ProbeTrial trial = maker.next();
    std::vector<std::vector<std::int32_t>> streams;
    for (const std::int64_t distance : shape.distances) {
      streams.push_back(trial.stream_with_fact(shape, distance));
    }
    streams.push_back(trial.control);
    const std::vector<ValueScore> scores = score_values(shape, trial.value, streams, read);
    for (std::size_t i = 0; i <= n_distances; ++i) {
      shares[i].push_back(scores[i].share_likeliest);
      log_probabilities[i].push_back(scores[i].log_probability);
    }
    on_trial();
  }
  const auto trials = static_cast<std::size_t>(n_trials);
  std::vector<RecallRow> rows;
  for (std::size_t i = 0; i < n_distances; ++i) {
    std::vector<double> gains;
    for (std::size_t n = 0; n < trials; ++n) {
      gains.push_back(log_probabilities[i][n] - log_probabilities[n_distances][n]);
    }
    rows.push_back({.distance = shape.distances[i],
                    .place = fact_place(shape, shape.distances[i]),
                    .accuracy = estimate_share(mean(shares[i]), trials),
                    .control_accuracy = estimate_share(mean(shares[n_distances]), trials),
                    .gain_nats = estimate_mean(gains),
                    .log_probability = mean(log_probabilities[i]),
                    .control_log_probability = mean(log_probabilities[n_distances])});
  }
  return rows;
}

}  // namespace condensed::eval
