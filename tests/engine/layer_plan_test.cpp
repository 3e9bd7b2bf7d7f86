#include "engine/layer_plan.h"

#include <random>
#include <set>

#include <gtest/gtest.h>

namespace condensed::engine {
namespace {

ModelConfig config_with(const std::vector<LayerType>& types) {
  ModelConfig config;
  config.n_layers = static_cast<int>(types.size());
  config.layer_types = types;
  config.sliding_window = 8;
  return config;
}

std::vector<LayerType> owners(std::initializer_list<int> list) {
  std::vector<LayerType> types;
  for (const int owner : list) types.push_back({.owner = owner});
  return types;
}

/// "0-1 c1-5 5-6": the stages, cyclic ones marked.
std::string stages_text(const LayerPlan& plan) {
  std::string out;
  for (const LayerStage& stage : plan.stages) {
    out += (out.empty() ? "" : " ") + std::string(stage.cyclic ? "c" : "") + std::to_string(stage.first) +
           "-" + std::to_string(stage.end);
  }
  return out;
}

TEST(LayerPlan, FindsTheCyclicStages) {
  EXPECT_EQ(stages_text(make_layer_plan(config_with(owners({0, 4, 4, 4, 4, 5})))), "0-1 c1-5 5-6");
  EXPECT_EQ(stages_text(make_layer_plan(config_with(owners({5, 5, 5, 5, 5, 5})))), "c0-6");
  EXPECT_EQ(stages_text(make_layer_plan(config_with(owners({0, 3, 3, 3, 5, 5})))), "0-1 c1-4 c4-6");
  EXPECT_EQ(stages_text(make_layer_plan(config_with(owners({0, 0, 2, 2, 4, 4})))), "0-6");
  EXPECT_EQ(stages_text(make_layer_plan(config_with(owners({0, 1, 2, 2, 2, 2})))), "0-6");
  EXPECT_EQ(stages_text(make_layer_plan(config_with(owners({3, 1, 4, 3, 4, 2})))), "c0-5 5-6");
}

TEST(LayerPlan, OwnersAreTheLayersThatSomeLayerReads) {
  const LayerPlan plan = make_layer_plan(config_with(owners({0, 4, 4, 4, 4, 5})));
  EXPECT_EQ(plan.owner_layers, (std::vector<int>{0, 4, 5}));
  EXPECT_TRUE(plan.cyclic());
  EXPECT_EQ(plan.layers[1].owner, 1);
  EXPECT_FALSE(plan.layers[1].owns);
  EXPECT_FALSE(plan.layers[1].visibility.self);
  EXPECT_TRUE(plan.layers[4].owns);
  EXPECT_EQ(plan.layers[4].owner_written, 1);
  EXPECT_TRUE(plan.layers[4].visibility.self);
}

TEST(LayerPlan, NoLayerSeesTheTokenItselfWithForceNodiag) {
  ModelConfig config = config_with(owners({0, 1, 2}));
  config.force_nodiag = true;
  for (const LayerStep& step : make_layer_plan(config).layers) EXPECT_FALSE(step.visibility.self);
}

TEST(LayerPlan, OnlySlidingLayersHaveAWindow) {
  ModelConfig config = config_with({{.owner = 0, .sliding = true}, {.owner = 1}});
  const LayerPlan plan = make_layer_plan(config);
  EXPECT_EQ(plan.layers[0].visibility.sliding_window, 8);
  EXPECT_EQ(plan.layers[1].visibility.sliding_window, 0);
}

TEST(LayerPlan, StagesAreTheConnectedRangesOfRandomPatterns) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    const int n = 1 + static_cast<int>(random() % 12);
    std::vector<LayerType> types;
    for (int i = 0; i < n; ++i) types.push_back({.owner = static_cast<int>(random() % n)});
    // Two neighbours belong to one cyclic range exactly if some layer below or at the lower one reads from
    // above the border.
    std::string expected;
    const auto joined = [&](int lower) {
      for (int i = 0; i <= lower; ++i) {
        if (types[i].owner > lower) return true;
      }
      return false;
    };
    for (int first = 0; first < n;) {
      int end = first + 1;
      const bool cyclic = first + 1 < n && joined(first);
      if (cyclic) {
        while (end < n && joined(end - 1)) ++end;
      } else {
        while (end < n && !joined(end)) ++end;
      }
      expected += (expected.empty() ? "" : " ") + std::string(cyclic ? "c" : "") + std::to_string(first) +
                  "-" + std::to_string(end);
      first = end;
    }
    ASSERT_EQ(stages_text(make_layer_plan(config_with(types))), expected);
  }
}

}  // namespace
}  // namespace condensed::engine
