#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/token_choice.h"

namespace condensed::kernels::test {

/// A row of logits, and how its token is chosen.
class ChoiceCase {
 public:
  /// Odd rows and extreme options among usual ones.
  ChoiceCase(std::mt19937& random, int vocab) : logits(random_row(random, vocab)) {
    const auto one_of = [&](auto... values) {
      const std::common_type_t<decltype(values)...> all[] = {values...};
      return all[random() % sizeof...(values)];
    };
    choice_.temperature = one_of(0.0, 1e-300, 1e-3, 0.3, 0.8, 1.0, 2.0, 100.0, 1e30);
    choice_.top_k = one_of(0, 0, 1, 2, 40, std::max(1, vocab - 1), vocab, vocab + 5);
    choice_.top_p = one_of(1.0, 1.0, 0.9999999, 0.95, 0.5, 0.1, 1e-9);
    choice_.min_p = one_of(0.0, 0.0, 0.05, 0.5, 1.0, 1e-15);
    const std::uint64_t drawn = std::uint64_t{random()} << 32 | random();
    choice_.random = one_of(drawn, drawn, drawn, drawn, std::uint64_t{0}, ~std::uint64_t{0});
    if (random() % 2 == 0) {
      choice_.penalties = {.repetition = one_of(1.0F, 1.3F, 0.5F, 100.0F),
                           .presence = one_of(0.0F, 0.5F, -2.0F),
                           .frequency = one_of(0.0F, 0.1F, -100.0F)};
      std::vector<std::int32_t> tokens(static_cast<std::size_t>(vocab));
      std::iota(tokens.begin(), tokens.end(), 0);
      std::vector<std::int32_t> some;
      std::ranges::sample(tokens, std::back_inserter(some), one_of(1, 5, 64, 700), random);
      for (const std::int32_t token : some) {
        adjustments_.push_back({.token = token,
                                .bias = one_of(0.0F, 1.5F, -100.0F),
                                .count = one_of(std::int32_t{0}, std::int32_t{1}, std::int32_t{9})});
      }
    }
  }

  /// As long as this is there.
  TokenChoice choice() const {
    TokenChoice choice = choice_;
    choice.adjustments = adjustments_;
    return choice;
  }
  std::int32_t expected() const {
    std::vector<float> row = logits;
    ChoiceSpace space;
    return choose_token(row, choice(), space);
  }

  std::vector<float> logits;

 private:
  static std::vector<float> random_row(std::mt19937& random, int vocab) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    constexpr float kOdd[] = {kNan, -kInfinity, kInfinity, 3e38F, -3e38F, 1e-42F, 0.0F, -0.0F};
    constexpr float kWidths[] = {2.0F, 2.0F, 10.0F, 0.01F, 0.0F, 1e37F};
    std::normal_distribution<float> normal(0, 1);
    std::vector<float> row(static_cast<std::size_t>(vocab));
    const float width = kWidths[random() % std::size(kWidths)];
    std::ranges::generate(row, [&] { return width * normal(random); });
    switch (random() % 6) {
      case 0:  // many are equal
        std::ranges::transform(row, row.begin(),
                               [](float x) { return static_cast<float>(static_cast<int>(x)); });
        break;
      case 1:
        for (int i = 0; i < 1 + vocab / 10; ++i) {
          row[random() % row.size()] = kOdd[random() % std::size(kOdd)];
        }
        break;
      case 2:
        std::ranges::fill(row, kOdd[random() % std::size(kOdd)]);
        row[random() % row.size()] = kOdd[random() % std::size(kOdd)];
        break;
      default:
        break;
    }
    return row;
  }

  TokenChoice choice_;
  std::vector<LogitAdjustment> adjustments_;
};

}  // namespace condensed::kernels::test
