// How tokens are chosen: the plain code against its definition in float64, and every backend against the
// plain code, to the bit.

#include "kernels/token_choice.h"

#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/arrays.h"
#include "tests/kernels/choice_case.h"

namespace condensed::kernels::test {
namespace {

constexpr int kVocabularies[] = {1, 2, 31, 511, 4095, 4096, 4097, 31999, 32000, 32001};
// A mass is wrong by half a unit, and all together are at least 2^40 units.
constexpr double kUnit = 0x1p-40;

/// What the definition says, in float64, with thresholds moved by what masses are wrong by: units, of one
/// sign.
class Definition {
 public:
  Definition(const ChoiceCase& input, int units) : choice_(input.choice()) {
    const double slack = units * kUnit;
    std::vector<float> logits = input.logits;
    for (const LogitAdjustment& adjustment : choice_.adjustments) {
      logits[adjustment.token] = adjusted(logits[adjustment.token], adjustment, choice_.penalties);
    }
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (!std::isnan(logits[i]) && logits[i] != -INFINITY) {
        likely_.push_back(static_cast<std::int32_t>(i));
        logits[i] = std::min(logits[i], std::numeric_limits<float>::max());
      }
    }
    std::ranges::stable_sort(likely_, [&](std::int32_t a, std::int32_t b) { return logits[a] > logits[b]; });
    if (choice_.top_k > 0 && choice_.top_k < std::ssize(likely_)) {
      likely_.resize(static_cast<std::size_t>(choice_.top_k));
    }
    p_.resize(logits.size());
    double total = 0;
    for (const std::int32_t token : likely_) {
      // Not by an infinite factor, which the definition of a tiny temperature would be: equals stay equal.
      const double below = double{logits[token]} - double{logits[likely_.front()]};
      p_[token] = below == 0 ? 1 : std::exp(below / choice_.temperature);
      total += p_[token];
    }
    double sum = 0;
    std::size_t kept = 0;
    while (kept < likely_.size() &&
           (kept == 0 || sum < choice_.top_p * total + slack * static_cast<double>(logits.size()))) {
      sum += p_[likely_[kept++]];
    }
    likely_.resize(choice_.top_p < 1 ? kept : likely_.size());
    std::erase_if(likely_, [&](std::int32_t token) { return p_[token] < choice_.min_p + slack; });
    std::ranges::sort(likely_);
  }

  /// How far the number that was drawn lies outside the token's share; infinite if it was filtered out.
  double error(std::int32_t token) const {
    if (likely_.empty()) {
      return token == 0 ? 0 : INFINITY;
    }
    double total = 0, below = 0;
    bool kept = false;
    for (const std::int32_t other : likely_) {
      total += p_[other];
      below += other < token ? p_[other] : 0;
      kept |= other == token;
    }
    const double drawn = std::ldexp(static_cast<double>(choice_.random), -64);
    return kept ? std::max({0.0, below / total - drawn, drawn - (below + p_[token]) / total}) : INFINITY;
  }

 private:
  TokenChoice choice_;
  std::vector<std::int32_t> likely_;
  std::vector<double> p_;
};

TEST(TokenChoice, FollowsItsDefinition) {
  std::mt19937 random(20250101);
  int n_exact = 0, n_drawn = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const ChoiceCase input(random, kVocabularies[random() % std::size(kVocabularies)]);
    const std::int32_t token = input.expected();
    SCOPED_TRACE(testing::Message() << "trial " << trial << ", " << input.logits.size() << " tokens");
    if (input.choice().temperature == 0) {
      continue;  // no share: seen below
    }
    const double error = Definition(input, 0).error(token);
    n_exact += error == 0 ? 1 : 0;
    ++n_drawn;
    if (error > 0) {  // What a filter keeps by less than its rounding may be kept or not.
      ASSERT_LE(std::min({error, Definition(input, 1).error(token), Definition(input, -1).error(token)}),
                2 * kUnit * static_cast<double>(input.logits.size()));
    }
  }
  EXPECT_GE(n_exact, n_drawn * 99 / 100);
}

TEST(TokenChoice, WithoutATemperatureIsTheLowestOfTheLikeliest) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 500; ++trial) {
    ChoiceCase input(random, kVocabularies[random() % 4]);
    ChoiceSpace space;
    const std::vector<float> before = input.logits;
    const std::int32_t token = choose_token(input.logits, {}, space);
    expect_same_bits(input.logits, before);
    const auto rank = [&](std::int32_t i) {
      return std::isnan(before[i]) ? -INFINITY : std::min(before[i], std::numeric_limits<float>::max());
    };
    for (std::int32_t i = 0; i < std::ssize(before); ++i) {
      ASSERT_TRUE(rank(i) < rank(token) || (rank(i) == rank(token) && (i >= token)) ||
                  rank(token) == -INFINITY)
          << i << " and " << token;
    }
    if (rank(token) == -INFINITY) {
      ASSERT_EQ(token, 0);
    }
  }
}

TEST(TokenMass, IsTheExponentialInUnits) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-32, 0);
  for (int trial = 0; trial < 100'000; ++trial) {
    const float logit = trial % 10 == 0 ? uniform(random) / 1000 : uniform(random);
    const double expected = std::exp(double{logit} * 1.25) * static_cast<double>(kLikeliestMass);
    ASSERT_LE(std::abs(static_cast<double>(token_mass(logit, 0, 1.25)) - expected), 0.51) << logit;
  }
  EXPECT_EQ(token_mass(3, 3, 1e300), kLikeliestMass);
  EXPECT_EQ(token_mass(-3e38F, 3e38F, 1e-308), kLikeliestMass);
  EXPECT_EQ(token_mass(-3e38F, 3e38F, 1e300), 0U);
}

TEST(TokenMass, OfADrawnNumberIsItsShare) {
  std::mt19937_64 random(6);
  for (int trial = 0; trial < 10'000; ++trial) {
    const std::uint64_t number = random() >> random() % 64, total = random() >> (1 + random() % 63);
    __extension__ using Wide = unsigned __int128;
    ASSERT_EQ(drawn_mass(number, total), static_cast<std::uint64_t>(Wide{number} * total >> 64));
    const std::uint64_t some = top_p_mass(0.3, total + 1);
    ASSERT_NEAR(static_cast<double>(some), std::max(1.0, 0.3 * static_cast<double>(total + 1)),
                1 + 1e-15 * static_cast<double>(total));
  }
  EXPECT_EQ(top_p_mass(1e-300, 5), 1U);
  EXPECT_EQ(top_p_mass(1 - 0x1p-53, 5), 5U);
}

class Choices : public BackendTest {};
INSTANTIATE_TEST_SUITE_P(Backends, Choices, all_backends(), name_of_choice);

TEST_P(Choices, AreThoseOfThePlainCodeInABatchAndAlone) {
  std::mt19937 random(20250102);
  for (const int vocab : kVocabularies) {
    std::vector<ChoiceCase> cases;
    std::vector<TokenChoice> choices;
    std::vector<float> logits;
    std::vector<std::int32_t> expected;
    cases.reserve(40);
    for (int r = 0; r < (vocab < 1000 ? 40 : 8); ++r) {
      const ChoiceCase& added = cases.emplace_back(random, vocab);
      choices.push_back(added.choice());
      expected.push_back(added.expected());
      logits.insert(logits.end(), added.logits.begin(), added.logits.end());
    }
    std::vector<std::int32_t> tokens(expected.size());
    backend().choose_tokens(logits, choices, tokens);
    for (std::size_t r = 0; r < cases.size(); ++r) {
      std::int32_t alone = -1;
      std::vector<float> row = cases[r].logits;
      backend().choose_tokens(row, {&choices[r], 1}, {&alone, 1});
      EXPECT_EQ(tokens[r], expected[r]) << "row " << r << " of " << vocab << " tokens";
      EXPECT_EQ(alone, expected[r]) << "row " << r << " of " << vocab << " tokens, alone";
    }
  }
}

}  // namespace
}  // namespace condensed::kernels::test
