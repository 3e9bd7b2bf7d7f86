#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "cache/condensed_cache.h"
#include "eval/statistics.h"

namespace condensed::eval {

/// A probe for what a stream still remembers that any model can take: random key tokens followed by random
/// value tokens stand once in a stream (the fact), and much later the key comes again. Is the value expected
/// to follow? Beside it the same stream without the fact (the control), where nothing but chance says so.
///
///     lead … key value …… filler …… key value
///                ^---- distance ----^
struct ProbeShape {
  std::int64_t key_tokens = 4;    // at least 1
  std::int64_t value_tokens = 4;  // at least 1
  cache::StreamWindow window;
  std::vector<std::int64_t> distances;  // from a value token to the place that predicts it again

  /// Where the last key token stands when the key comes again: the same at every distance, with a full
  /// window before it, and far enough that the farthest fact is not among the sinks.
  std::int64_t query_position() const;
  /// Tokens of one stream. The value is given up to its last token, which is only predicted.
  std::int64_t stream_tokens() const { return query_position() + value_tokens; }
};

/// What the window holds of a fact while its value is asked for.
enum class FactPlace { inside, partly, outside };
FactPlace fact_place(const ProbeShape& shape, std::int64_t distance);
const char* name_of(FactPlace place);

/// Around the window: from the smallest distance there is to four windows, among them the last at which the
/// whole fact is in the window and the first at which nothing of it is. Ascending.
std::vector<std::int64_t> default_distances(const ProbeShape& shape);

/// Throws InputError for distances at which the fact would overlap its repetition, and for a vocabulary too
/// small to tell a fact from the rest.
void check_probe(const ProbeShape& shape, int vocab_size);

/// One fact and its surroundings.
struct ProbeTrial {
  std::vector<std::int32_t> key;
  std::vector<std::int32_t> value;
  std::vector<std::int32_t> control;  // the stream in which the fact never stood

  std::vector<std::int32_t> stream_with_fact(const ProbeShape& shape, std::int64_t distance) const;
};

/// Makes trials, the same ones for the same seed.
class ProbeMaker {
 public:
  /// first_token: of every stream (the beginning of sequence), or none. text: what surrounds facts, at
  /// least shape.stream_tokens() of it; empty: random tokens, none of them the fact's.
  ProbeMaker(const ProbeShape& shape, int vocab_size, std::optional<std::int32_t> first_token,
             std::vector<std::int32_t> text, std::uint64_t seed);

  ProbeTrial next();

 private:
  std::int32_t random_below(std::size_t n);
  std::vector<std::int32_t> distinct_tokens(std::size_t n);
  std::vector<std::int32_t> filler(std::span<const std::int32_t> fact);

  ProbeShape shape_;
  int vocab_size_;
  std::optional<std::int32_t> first_token_;
  std::vector<std::int32_t> text_;
  std::mt19937_64 random_;
};

/// Reads streams of equal length side by side, and hands out the logits [vocab_size] after each token from
/// index `first` on.
using OnStreamLogits =
    std::function<void(std::size_t stream, std::size_t index, std::span<const float> logits)>;
using ReadStreams = std::function<void(std::span<const std::vector<std::int32_t>> streams, std::size_t first,
                                       const OnStreamLogits& on_logits)>;

/// What was measured at one distance.
struct RecallRow {
  std::int64_t distance = 0;
  FactPlace place = FactPlace::inside;
  Estimate accuracy;          // share of value tokens that were the likeliest of all
  Estimate control_accuracy;  // the same where the fact never stood
  Estimate gain_nats;         // log-probability of a value token, above that of the control
  double log_probability = 0;
  double control_log_probability = 0;
};

/// One row for each of shape.distances. on_trial: called after each trial.
std::vector<RecallRow> measure_recall(const ProbeShape& shape, ProbeMaker& maker, std::int64_t n_trials,
                                      const ReadStreams& read, const std::function<void()>& on_trial);

}  // namespace condensed::eval
