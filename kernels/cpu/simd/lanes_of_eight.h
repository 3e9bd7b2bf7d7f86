#pragma once

#include "kernels/cpu/simd/eight.h"

/// Sixteen lanes in two parts of eight, for AVX2 and NEON: see lanes.h.
namespace condensed::kernels::CONDENSED_SIMD {

using Part = Eight;
constexpr int kPartLanes = 8;
constexpr int kRegisters = 16;  // NEON has twice as many, half as wide

static inline Part zero() {
  return eight_of(0.0F);
}
static inline Part broadcast(const float* x) {
  return broadcast_eight(x);
}
static inline Part load(const float* x) {
  return load_eight(x);
}
static inline Part load_first(const float* x, std::int64_t n) {
  return load_first_eight(x, n);
}
static inline Eight folded(const Part* parts) {
  return add(parts[0], parts[1]);
}

}  // namespace condensed::kernels::CONDENSED_SIMD
