#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::engine {
namespace {

constexpr int kVocab = 50;

std::vector<float> random_logits(std::mt19937& random) {
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> logits(kVocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> out;
  for (const float logit : logits) out.push_back(std::exp(static_cast<double>(logit) / temperature));
  const double total = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& p : out) p /= total;
  return out;
}

/// The filters as their definitions say, one after another.
std::vector<double> expected_distribution(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<double> p = softmax(logits, options.temperature);
  std::vector<int> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return p[a] > p[b]; });
  std::set<int> kept(order.begin(), order.end());
  if (options.top_k > 0) {
    kept = {order.begin(), order.begin() + std::min<int>(options.top_k, kVocab)};
  }
  double total = 0;
  for (const int token : kept) total += p[token];
  double sum = 0;
  std::set<int> top_p;
  for (const int token : order) {
    if (!kept.contains(token)) continue;
    top_p.insert(token);
    sum += p[token];
    if (sum >= options.top_p * total) break;
  }
  const double best = p[order[0]];
  for (int token = 0; token < kVocab; ++token) {
    if (!top_p.contains(token) || p[token] < options.min_p * best) p[token] = 0;
  }
  total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

void expect_drawn_from(const std::vector<float>& logits, const SamplingOptions& options) {
  constexpr int kDraws = 20000;
  const std::vector<double> expected = expected_distribution(logits, options);
  Sampler sampler(options, kVocab, 12345);
  std::vector<int> counts(kVocab);
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.draw(logits)];
  double chi_square = 0;
  int cells = 0;
  double rare_mean = 0;  // tokens too rare for a cell of their own share one
  int rare_count = 0;
  const auto add_cell = [&](double cell_mean, int count) {
    chi_square += (count - cell_mean) * (count - cell_mean) / cell_mean;
    ++cells;
  };
  for (int token = 0; token < kVocab; ++token) {
    const double token_mean = expected[token] * kDraws;
    if (token_mean == 0) {
      EXPECT_EQ(counts[token], 0) << "token " << token << " was filtered out";
    } else if (token_mean < 10) {
      rare_mean += token_mean;
      rare_count += counts[token];
    } else {
      add_cell(token_mean, counts[token]);
    }
  }
  if (rare_mean >= 10) add_cell(rare_mean, rare_count);
  // Five standard deviations above the mean of chi-square with cells - 1 degrees of freedom; rare cells add
  // some.
  EXPECT_LT(chi_square, cells + 6 * std::sqrt(2.0 * cells) + 10);
}

TEST(Sampler, DrawsFromTheFilteredDistribution) {
  std::mt19937 random(1);
  for (const double temperature : {0.5, 1.0, 1.7}) {
    for (const int top_k : {0, 1, 7, 60}) {
      for (const double top_p : {1.0, 0.8, 0.1}) {
        for (const double min_p : {0.0, 0.05, 1.0}) {
          SamplingOptions options;
          options.temperature = temperature;
          options.top_k = top_k;
          options.top_p = top_p;
          options.min_p = min_p;
          expect_drawn_from(random_logits(random), options);
        }
      }
    }
  }
}

TEST(Sampler, GreedyTakesTheLikeliestAndTheLowestOfEquals) {
  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler(options, 4, 0);
  EXPECT_EQ(sampler.draw(std::vector<float>{1, 3, 2, 3}), 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sampler.draw(std::vector<float>{nan, -5, nan, -4}), 3);
  EXPECT_EQ(sampler.draw(std::vector<float>{-infinity, nan, -infinity, -infinity}), 0);
}

TEST(Sampler, InfiniteLogitsAreTheLikeliest) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits{0, infinity, 3, infinity, -infinity};
  for (const double temperature : {0.0, 1.0}) {
    for (const double top_p : {1.0, 0.9}) {
      SamplingOptions options;
      options.temperature = temperature;
      options.top_p = top_p;
      Sampler sampler(options, 5, 1);
      std::set<std::int32_t> drawn;
      for (int i = 0; i < 100; ++i) drawn.insert(sampler.draw(logits));
      EXPECT_EQ(drawn, temperature == 0 ? (std::set<std::int32_t>{1}) : (std::set<std::int32_t>{1, 3}));
    }
  }
}

TEST(Sampler, NeverDrawsNaN) {
  std::vector<float> logits(kVocab, std::numeric_limits<float>::quiet_NaN());
  logits[7] = 0;
  logits[9] = 1;
  for (const double top_p : {1.0, 0.9}) {
    SamplingOptions options;
    options.top_p = top_p;
    options.top_k = 5;
    Sampler sampler(options, kVocab, 3);
    for (int i = 0; i < 200; ++i) {
      const std::int32_t token = sampler.draw(logits);
      EXPECT_TRUE(token == 7 || token == 9);
    }
  }
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  std::mt19937 random(4);
  std::vector<std::vector<float>> steps;
  for (int i = 0; i < 50; ++i) steps.push_back(random_logits(random));
  const auto draw_all = [&](std::uint64_t seed) {
    SamplingOptions options;
    options.seed = seed;
    Sampler sampler(options, kVocab, 999);
    std::vector<std::int32_t> tokens;
    for (const auto& logits : steps) tokens.push_back(sampler.draw(logits));
    return tokens;
  };
  EXPECT_EQ(draw_all(1), draw_all(1));
  EXPECT_NE(draw_all(1), draw_all(2));
}

TEST(Sampler, AChoiceIsTheSameUntilItIsCounted) {
  std::mt19937 random(5);
  SamplingOptions options;
  options.temperature = 0.9;
  options.top_p = 0.9;
  options.presence_penalty = 0.5;
  options.penalty_window = 4;
  Sampler drawing(options, kVocab, 7);
  Sampler choosing(options, kVocab, 7);
  kernels::ChoiceSpace space;
  for (int step = 0; step < 40; ++step) {
    const std::vector<float> logits = random_logits(random);
    std::int32_t chosen = 0;
    for (int attempt = 0; attempt < 2; ++attempt) {  // as in a step that fails and is repeated
      std::vector<float> row = logits;
      chosen = kernels::choose_token(row, choosing.choice(), space);
    }
    choosing.count_draw();
    EXPECT_EQ(chosen, drawing.draw(logits));
    EXPECT_EQ(choosing.random_state().n_drawn, drawing.random_state().n_drawn);
    drawing.observe(chosen);
    choosing.observe(chosen);
  }
  Sampler later(options, kVocab, 0);
  later.set_random_state(choosing.random_state());
  EXPECT_EQ(later.choice().random, choosing.choice().random);
}

TEST(Sampler, AGreedyTokenTakesNoRandomNumber) {
  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler(options, 2, 1);
  sampler.draw(std::vector<float>{1, 2});
  EXPECT_EQ(sampler.random_state().n_drawn, 0U);
}

TEST(Sampler, AdjustsEveryTokenOnce) {
  SamplingOptions options;
  options.penalty_window = 3;
  options.frequency_penalty = 1;
  options.logit_bias = {{4, 1.0F}, {2, 0.5F}, {4, 2.0F}};
  Sampler sampler(options, kVocab, 1);
  for (const std::int32_t token : {9, 4, 4, 1}) sampler.observe(token);
  const auto adjustments = sampler.choice().adjustments;
  ASSERT_EQ(adjustments.size(), 3U);  // 9 has left the window
  const auto expect = [&](std::size_t i, std::int32_t token, float bias, std::int32_t count) {
    EXPECT_EQ(adjustments[i].token, token);
    EXPECT_EQ(adjustments[i].bias, bias);
    EXPECT_EQ(adjustments[i].count, count);
  };
  expect(0, 1, 0, 1);
  expect(1, 2, 0.5, 0);
  expect(2, 4, 3, 2);
}

TEST(Sampler, PenaltiesCountTheTokensOfTheirWindow) {
  SamplingOptions options;
  options.temperature = 0;
  options.penalty_window = 3;
  options.presence_penalty = 1;
  options.frequency_penalty = 0.25;
  const std::vector<float> logits{2.0F, 1.2F, 0.7F, 0.0F};
  Sampler sampler(options, 4, 0);
  EXPECT_EQ(sampler.draw(logits), 0);
  sampler.observe(0);  // 2.0 - 1 - 0.25 = 0.75
  EXPECT_EQ(sampler.draw(logits), 1);
  sampler.observe(1);  // 1.2 - 1.25 = -0.05; token 0 is at 0.75, token 2 at 0.7
  EXPECT_EQ(sampler.draw(logits), 0);
  sampler.observe(0);  // 0.5
  EXPECT_EQ(sampler.draw(logits), 2);
  for (int i = 0; i < 3; ++i) sampler.observe(3);  // the others have left the window
  EXPECT_EQ(sampler.draw(logits), 0);
}

TEST(Sampler, PenaltiesFollowTheirDefinition) {
  std::mt19937 random(8);
  for (int trial = 0; trial < 200; ++trial) {
    SamplingOptions options;
    options.temperature = 0;
    options.penalty_window = static_cast<int>(random() % 30);
    options.repetition_penalty = 0.5 + 0.1 * static_cast<double>(random() % 20);
    options.presence_penalty = -2 + 0.25 * static_cast<double>(random() % 17);
    options.frequency_penalty = -1 + 0.25 * static_cast<double>(random() % 9);
    Sampler sampler(options, kVocab, 0);
    std::vector<std::int32_t> history;
    for (int step = 0; step < 60; ++step) {
      const std::vector<float> logits = random_logits(random);
      std::vector<double> expected(logits.begin(), logits.end());
      const auto window = std::min<std::size_t>(options.penalty_window, history.size());
      std::map<std::int32_t, int> counts;
      for (std::size_t i = history.size() - window; i < history.size(); ++i) ++counts[history[i]];
      for (const auto& [token, count] : counts) {
        double& logit = expected[token];
        logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
        logit -= options.presence_penalty + count * options.frequency_penalty;
      }
      const std::int32_t token = sampler.draw(logits);
      ASSERT_NEAR(expected[token], *std::max_element(expected.begin(), expected.end()), 1e-4);
      history.push_back(static_cast<std::int32_t>(random() % 8));
      sampler.observe(history.back());
    }
  }
}

TEST(Sampler, RepetitionPenaltyWorksOnBothSigns) {
  SamplingOptions options;
  options.temperature = 0;
  options.repetition_penalty = 2;
  Sampler positive(options, 2, 0);
  positive.observe(0);
  EXPECT_EQ(positive.draw(std::vector<float>{1.0F, 0.6F}), 1);
  Sampler negative(options, 2, 0);
  negative.observe(0);
  EXPECT_EQ(negative.draw(std::vector<float>{-1.0F, -1.5F}), 1);
}

TEST(Sampler, LogitBiasIsAdded) {
  SamplingOptions options;
  options.temperature = 0;
  options.logit_bias = {{2, 5.0F}, {0, -100.0F}};
  Sampler sampler(options, 3, 0);
  EXPECT_EQ(sampler.draw(std::vector<float>{4, 3, 1}), 2);
}

TEST(Sampler, RefusesOptionsOutOfRangeByName) {
  const auto refused = [](const std::string& option, auto&& change) {
    SamplingOptions options;
    change(options);
    try {
      Sampler sampler(options, kVocab, 0);
      ADD_FAILURE() << option << " was accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith(option));
    }
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  refused("temperature", [](auto& o) { o.temperature = -0.1; });
  refused("temperature", [&](auto& o) { o.temperature = nan; });
  refused("top_k", [](auto& o) { o.top_k = -1; });
  refused("top_p", [](auto& o) { o.top_p = 0; });
  refused("top_p", [](auto& o) { o.top_p = 1.01; });
  refused("min_p", [](auto& o) { o.min_p = 1.5; });
  refused("repetition_penalty", [](auto& o) { o.repetition_penalty = 0; });
  refused("presence_penalty", [&](auto& o) { o.presence_penalty = nan; });
  refused("frequency_penalty", [](auto& o) { o.frequency_penalty = 101; });
  refused("penalty_window", [](auto& o) { o.penalty_window = 1025; });
  refused("logit_bias", [](auto& o) { o.logit_bias = {{kVocab, 1.0F}}; });
  refused("logit_bias", [](auto& o) { o.logit_bias = {{1, 101.0F}}; });
}

TEST(Logprobs, AreTheLogOfTheSoftmax) {
  std::mt19937 random(6);
  std::vector<float> logits = random_logits(random);
  for (float& logit : logits) logit += 500;  // must not overflow
  std::vector<float> shifted = logits;
  for (float& logit : shifted) logit -= 500;
  const std::vector<double> p = softmax(shifted, 1);
  for (int token = 0; token < kVocab; ++token) {
    EXPECT_NEAR(logprob_of(logits, token).logprob, std::log(p[token]), 1e-4);
  }
  const std::vector<TokenLogprob> top = top_logprobs(logits, 5);
  ASSERT_EQ(top.size(), 5U);
  EXPECT_EQ(top[0].token, std::max_element(p.begin(), p.end()) - p.begin());
  for (std::size_t i = 1; i < top.size(); ++i) EXPECT_GE(top[i - 1].logprob, top[i].logprob);
}

}  // namespace
}  // namespace condensed::engine
