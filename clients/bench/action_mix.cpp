#include "clients/bench/action_mix.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <stdexcept>

namespace condensed::bench {

namespace {

constexpr std::array<std::string_view, kActions> kNames{"open", "talk", "fork", "rest", "close"};
constexpr std::int64_t kMostWeight = 1'000'000;

[[noreturn]] void refuse(std::string_view part) {
  throw std::invalid_argument(
      "--mix: expected talk=N, open=N, fork=N, rest=N or close=N with commas between "
      "and talk above 0, found \"" +
      std::string(part) + "\"");
}

}  // namespace

std::string_view name_of(Action action) {
  return kNames[static_cast<std::size_t>(action)];
}

ActionMix::ActionMix(std::string_view text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const std::size_t equals = part.find('=');
    const auto* const name = std::find(kNames.begin(), kNames.end(), part.substr(0, equals));
    if (equals == std::string_view::npos || name == kNames.end()) {
      refuse(part);
    }
    const std::string_view number = part.substr(equals + 1);
    std::int64_t weight = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), weight);
    if (error != std::errc() || end != number.data() + number.size() || weight < 0 || weight > kMostWeight) {
      refuse(part);
    }
    weights_[static_cast<std::size_t>(name - kNames.begin())] = weight;
  }
  if (weight(Action::talk) == 0) {
    refuse(text);
  }
}

Action ActionMix::draw(std::mt19937_64& random) const {
  const std::int64_t sum = std::accumulate(weights_.begin(), weights_.end(), std::int64_t{0});
  std::int64_t left = std::uniform_int_distribution<std::int64_t>(0, sum - 1)(random);
  for (std::size_t i = 0; i < kActions; ++i) {
    if (left < weights_[i]) {
      return static_cast<Action>(i);
    }
    left -= weights_[i];
  }
  return Action::talk;
}

}  // namespace condensed::bench
