#include "eval/recall_probe.h"

#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::eval {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr int kVocab = 200;
constexpr std::int32_t kFirst = 1;

ProbeShape shape_with(std::vector<std::int64_t> distances) {
  return {.key_tokens = 3,
          .value_tokens = 2,
          .window = {.sinks = 2, .window = 40},
          .distances = std::move(distances)};
}

/// Knows what followed the last token when it stood in the window before, and nothing else: what a model with
/// a perfect induction head would say. Elsewhere it expects token 0, which no fact here contains.
ReadStreams perfect_memory(const cache::StreamWindow& window) {
  return [window](std::span<const Tokens> streams, std::size_t first, const OnStreamLogits& on_logits) {
    for (std::size_t stream = 0; stream < streams.size(); ++stream) {
      const Tokens& tokens = streams[stream];
      for (std::size_t index = first; index < tokens.size(); ++index) {
        std::vector<float> logits(kVocab, 0.0F);
        logits[0] = 1;
        const auto held_from = static_cast<std::int64_t>(index) - window.window;
        for (auto held = std::max<std::int64_t>(1, held_from); held < static_cast<std::int64_t>(index);
             ++held) {
          if (tokens[static_cast<std::size_t>(held - 1)] == tokens[index]) {
            logits[static_cast<std::size_t>(tokens[static_cast<std::size_t>(held)])] = 20;
          }
        }
        on_logits(stream, index, logits);
      }
    }
  };
}

TEST(RecallProbe, TheFactStandsAtItsDistance) {
  const ProbeShape shape = shape_with({10, 90});
  ProbeMaker maker(shape, kVocab, kFirst, {}, 1);
  const ProbeTrial trial = maker.next();
  ASSERT_EQ(trial.key.size(), 3U);
  ASSERT_EQ(trial.value.size(), 2U);
  const auto asked_at = static_cast<std::size_t>(shape.query_position());
  EXPECT_EQ(asked_at, 2U + 3U + 90U);  // the farthest fact begins behind the sinks
  for (const std::int64_t distance : shape.distances) {
    const Tokens stream = trial.stream_with_fact(shape, distance);
    ASSERT_EQ(stream.size(), static_cast<std::size_t>(shape.stream_tokens()));
    EXPECT_EQ(stream.front(), kFirst);
    const std::size_t value_at = asked_at - static_cast<std::size_t>(distance);
    EXPECT_EQ(Tokens(stream.begin() + value_at - 3, stream.begin() + value_at), trial.key);
    EXPECT_EQ(Tokens(stream.begin() + value_at, stream.begin() + value_at + 2), trial.value);
    EXPECT_EQ(Tokens(stream.begin() + asked_at - 2, stream.begin() + asked_at + 1), trial.key);
    EXPECT_EQ(stream[asked_at + 1], trial.value[0]);
  }
}

TEST(RecallProbe, TheControlDiffersInTheFactOnlyAndHoldsNothingOfIt) {
  const ProbeShape shape = shape_with({10, 90});
  ProbeMaker maker(shape, kVocab, kFirst, {}, 1);
  for (int n = 0; n < 20; ++n) {
    const ProbeTrial trial = maker.next();
    std::set<std::int32_t> fact(trial.key.begin(), trial.key.end());
    fact.insert(trial.value.begin(), trial.value.end());
    EXPECT_EQ(fact.size(), 5U);  // distinct
    const auto before_query = trial.control.begin() + shape.query_position() - 2;
    EXPECT_TRUE(
        std::none_of(trial.control.begin(), before_query, [&](std::int32_t t) { return fact.contains(t); }));
    const Tokens stream = trial.stream_with_fact(shape, 90);
    EXPECT_EQ(std::ranges::mismatch(stream, trial.control).in1 - stream.begin(), 2);
    EXPECT_TRUE(std::equal(stream.begin() + 7, stream.end(), trial.control.begin() + 7));
  }
}

TEST(RecallProbe, ASeedGivesTheSameTrials) {
  const ProbeShape shape = shape_with({10});
  ProbeMaker one(shape, kVocab, kFirst, {}, 5);
  ProbeMaker same(shape, kVocab, kFirst, {}, 5);
  ProbeMaker other(shape, kVocab, kFirst, {}, 6);
  const Tokens control = one.next().control;
  EXPECT_EQ(same.next().control, control);
  EXPECT_NE(other.next().control, control);
}

TEST(RecallProbe, ATextSurroundsTheFact) {
  const ProbeShape shape = shape_with({10});
  Tokens text(500);
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<std::int32_t>(2 + i % 100);
  }
  ProbeMaker maker(shape, kVocab, kFirst, text, 1);
  const ProbeTrial trial = maker.next();
  for (std::int64_t i = 2; i < shape.query_position() - 2; ++i) {
    EXPECT_EQ((trial.control[i] - trial.control[i - 1] + 100) % 100, 1) << i;
  }
}

TEST(RecallProbe, PlacesAreWhatTheWindowHolds) {
  // Asked at q and q + 1 with 40 tokens in the window. The fact's key begins d + 3 before q, its value d.
  const ProbeShape shape = shape_with({});
  EXPECT_EQ(fact_place(shape, 36), FactPlace::inside);  // the key is held at q + 1: 36 + 3 + 1 = 40
  EXPECT_EQ(fact_place(shape, 37), FactPlace::partly);
  EXPECT_EQ(fact_place(shape, 41), FactPlace::partly);  // the value's second token is held at q
  EXPECT_EQ(fact_place(shape, 42), FactPlace::outside);
}

TEST(RecallProbe, DefaultDistancesLieOnBothSidesOfTheWindow) {
  const ProbeShape shape = shape_with({});
  const std::vector<std::int64_t> distances = default_distances(shape);
  EXPECT_TRUE(std::ranges::is_sorted(distances));
  const auto is = [&](FactPlace place) {
    return [&shape, place](std::int64_t d) { return fact_place(shape, d) == place; };
  };
  const auto last_inside = std::ranges::find_if_not(distances, is(FactPlace::inside)) - 1;
  EXPECT_EQ(fact_place(shape, *last_inside + 1), FactPlace::partly);
  const auto first_outside = std::ranges::find_if(distances, is(FactPlace::outside));
  EXPECT_EQ(fact_place(shape, *first_outside - 1), FactPlace::partly);
  EXPECT_EQ(distances.back(), 160);
}

TEST(RecallProbe, APerfectMemoryIsRightInsideTheWindowAndAtChanceOutside) {
  const ProbeShape shape = shape_with({4, 20, 36, 42, 90});
  ProbeMaker maker(shape, kVocab, kFirst, {}, 3);
  int trials = 0;
  const std::vector<RecallRow> rows =
      measure_recall(shape, maker, 40, perfect_memory(shape.window), [&] { ++trials; });
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(trials, 40);
  for (const RecallRow& row : rows) {
    EXPECT_EQ(row.accuracy.value, row.place == FactPlace::inside ? 1 : 0) << row.distance;
    EXPECT_EQ(row.control_accuracy.value, 0);
    if (row.place == FactPlace::inside) {
      EXPECT_GT(row.gain_nats.low, 4);  // from about 1 in 200 to about 1
      EXPECT_NEAR(row.log_probability, 0, 1e-4);
    } else {
      EXPECT_EQ(row.gain_nats.value, 0);
      EXPECT_EQ(row.gain_nats.high, 0);
    }
  }
}

TEST(RecallProbe, RefusesWhatCannotBeMeasured) {
  EXPECT_THROW(check_probe(shape_with({3}), kVocab), engine::InputError);  // overlaps its repetition
  EXPECT_NO_THROW(check_probe(shape_with({4}), kVocab));
  EXPECT_THROW(check_probe(shape_with({4}), 20), engine::InputError);
}

}  // namespace
}  // namespace condensed::eval
