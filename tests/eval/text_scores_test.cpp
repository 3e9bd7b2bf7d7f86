#include "eval/text_scores.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::eval {
namespace {

using ::testing::ElementsAre;

TEST(SegmentTargets, AreSpreadFromTheFullWindowToTheEnd) {
  EXPECT_THAT(segment_targets(100, 9, {.count = 3, .length = 2}), ElementsAre(10, 11, 54, 55, 98, 99));
  EXPECT_THAT(segment_targets(12, 9, {.count = 1, .length = 2}), ElementsAre(10, 11));
}

TEST(SegmentTargets, NeedATextLongEnough) {
  EXPECT_THROW(segment_targets(15, 9, {.count = 3, .length = 2}), engine::InputError);
}

TEST(PairedLosses, AreThoseOfPositionsThatBothHave) {
  const TextScores all{.positions = {0, 1, 2, 3, 4}, .losses = {10, 11, 12, 13, 14}};
  const TextScores some{.positions = {1, 4, 9}, .losses = {21, 24, 29}};
  const PairedLosses paired = paired_losses(all, some);
  EXPECT_THAT(paired.positions, ElementsAre(1, 4));
  EXPECT_THAT(paired.first, ElementsAre(11, 14));
  EXPECT_THAT(paired.second, ElementsAre(21, 24));
  EXPECT_TRUE(paired_losses(some, {}).first.empty());
}

TEST(SummariesByPosition, LeaveOutPartsWithoutScores) {
  const TextScores scores{.positions = {0, 1, 7, 8}, .losses = {1, 3, 5, 7}};
  const auto parts = summaries_by_position(scores, 0, [](std::size_t begin) { return begin + 3; });
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].at("position").to_number<int>(), 0);
  EXPECT_EQ(parts[0].at("nll").as_double(), 2);
  EXPECT_EQ(parts[0].at("perplexity").as_double(), std::exp(2.0));
  EXPECT_EQ(parts[1].at("position").to_number<int>(), 6);
  EXPECT_EQ(parts[1].at("tokens").to_number<int>(), 2);
}

TEST(SummariesByPosition, BeginWhereTheyAreToldTo) {
  const TextScores scores{.positions = {0, 1, 2, 3, 5, 9}, .losses = {1, 1, 2, 4, 6, 8}};
  const auto parts = summaries_by_position(scores, 2, [](std::size_t begin) { return 2 * begin; });
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].at("nll").as_double(), 3);
  EXPECT_EQ(parts[1].at("nll").as_double(), 6);
  EXPECT_EQ(parts[2].at("position").to_number<int>(), 8);
}

}  // namespace
}  // namespace condensed::eval
