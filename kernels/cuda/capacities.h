#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace condensed::kernels::cuda {

/// For how many rows a step of n rows is laid out: few numbers, so that few graphs serve every batch, and
/// none far above n.
constexpr std::int64_t row_bucket(std::int64_t n) {
  const auto multiple = [n](std::int64_t of) { return (n + of - 1) / of * of; };
  if (n <= 8) {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(n, 1))));
  }
  return n <= 64 ? multiple(16) : n <= 256 ? multiple(32) : multiple(64);
}

/// Room for n things whose number grows with a stream: at most an eighth more, so that a step's layout
/// changes seldom.
constexpr std::int64_t rounded_capacity(std::int64_t n) {
  const auto positive = static_cast<std::uint64_t>(std::max<std::int64_t>(n, 1));
  const std::uint64_t step = std::max<std::uint64_t>(1, std::bit_floor(positive) / 8);
  return static_cast<std::int64_t>((positive + step - 1) / step * step);
}

/// Room for the n adjustments of a step's logits, which come and go with what generations have said lately:
/// one size for all steps with few, and few sizes for the others.
constexpr std::int64_t adjustment_capacity(std::int64_t n) {
  std::int64_t capacity = 256;
  while (capacity < n) {
    capacity *= 4;
  }
  return capacity;
}

}  // namespace condensed::kernels::cuda
