#include "cache/rotary_phase.h"

#include <cassert>
#include <cmath>
#include <numbers>

namespace condensed::cache {

RotaryPhase::RotaryPhase(std::span<const double> frequencies) {
  turns_.reserve(frequencies.size());
  for (const double frequency : frequencies) {
    assert(frequency >= 0 && frequency < 2 * std::numbers::pi);
    const long double turns = static_cast<long double>(frequency) / (2 * std::numbers::pi_v<long double>);
    turns_.push_back(static_cast<std::uint64_t>(std::ldexp(turns, 64)));
  }
}

void RotaryPhase::angles(std::int64_t position, std::span<float> angles) const {
  const std::size_t half = turns_.size();
  assert(angles.size() == 2 * half);
  constexpr double radians_per_unit = 2 * std::numbers::pi * 0x1p-64;
  for (std::size_t i = 0; i < half; ++i) {
    const std::uint64_t phase = static_cast<std::uint64_t>(position) * turns_[i];
    // Read as signed, the angle lies in [-π, π), where a double is finest around zero.
    const double radians = static_cast<double>(static_cast<std::int64_t>(phase)) * radians_per_unit;
    angles[i] = static_cast<float>(std::cos(radians));
    angles[half + i] = static_cast<float>(std::sin(radians));
  }
}

}  // namespace condensed::cache
