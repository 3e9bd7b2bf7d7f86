#include "engine/prompt_planner.h"

#include <gtest/gtest.h>

namespace condensed::engine {
namespace {

constexpr PromptOptions kAutomatic{.mode = PromptMode::automatic, .chunk_tokens = 32};

TEST(PromptPlanner, ReadsSeriallyWhereRowsCostWhatTheyAre) {
  const PromptPlanner planner(kAutomatic, {{1, 1.0}, {2, 2.0}, {64, 64.0}});
  EXPECT_EQ(planner.slice_tokens(1000, 0), 1);
  EXPECT_EQ(planner.slice_tokens(1000, 15), 1);
}

TEST(PromptPlanner, IteratesWhereAStepCostsTheSameHoweverWide) {
  const PromptPlanner planner(kAutomatic, {{1, 1.0}, {64, 1.0}});
  EXPECT_EQ(planner.slice_tokens(1000, 0), 32);  // 8.3 passes for 32 tokens; 64 exceed chunk_tokens
  EXPECT_EQ(planner.slice_tokens(20, 0), 16);
  EXPECT_EQ(planner.slice_tokens(3, 0), 1);
}

TEST(PromptPlanner, JoinsAStepThatRunsAnyway) {
  // Alone, a token costs a whole reading of the weights; beside others it costs a hundredth.
  const PromptPlanner planner(kAutomatic, {{1, 1.0}, {2, 1.01}, {64, 1.63}});
  EXPECT_GT(planner.slice_tokens(1000, 0), 1);
  EXPECT_EQ(planner.slice_tokens(1000, 8), 1);
}

TEST(PromptPlanner, FollowsThePassesThatChunksTake) {
  PromptPlanner planner(kAutomatic, {{1, 1.0}, {64, 4.0}});
  EXPECT_GT(planner.slice_tokens(1000, 0), 1);
  for (int i = 0; i < 100; ++i) {
    for (const std::int64_t chunk : {4, 8, 16, 32}) planner.observe(chunk, chunk);  // nothing converges early
  }
  EXPECT_EQ(planner.slice_tokens(1000, 0), 1);
}

TEST(PromptPlanner, LeavesAFixedChoiceAlone) {
  const PromptPlanner chunks({.mode = PromptMode::adaptive, .chunk_tokens = 10}, {});
  EXPECT_EQ(chunks.slice_tokens(1000, 0), 10);
  EXPECT_EQ(chunks.slice_tokens(7, 5), 7);
  const PromptPlanner serial({.mode = PromptMode::serial}, {});
  EXPECT_EQ(serial.slice_tokens(1000, 5), 1);
}

TEST(PromptPlanner, StepsBetweenAndBeyondTheMeasuredOnesLieOnLines) {
  const PromptPlanner planner(kAutomatic, {{1, 1.0}, {4, 4.0}, {8, 6.0}});
  EXPECT_DOUBLE_EQ(planner.step_seconds(0), 0);
  EXPECT_DOUBLE_EQ(planner.step_seconds(1), 1);
  EXPECT_DOUBLE_EQ(planner.step_seconds(2), 2);
  EXPECT_DOUBLE_EQ(planner.step_seconds(6), 5);
  EXPECT_DOUBLE_EQ(planner.step_seconds(12), 8);
  EXPECT_DOUBLE_EQ(PromptPlanner(kAutomatic, {{1, 0.5}}).step_seconds(7), 3.5);
}

}  // namespace
}  // namespace condensed::engine
