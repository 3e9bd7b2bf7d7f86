#pragma once

#include <cstdint>
#include <immintrin.h>

#include "kernels/cpu/exp_lanes.h"

/// Building blocks of the AVX2 files. `static`: each file keeps its own copy, so that no code compiled for
/// AVX2 is ever linked into the rest of the program.
namespace condensed::kernels::avx2 {

constexpr std::int64_t kLanes = 8;

/// All bits set in the first n lanes.
static inline __m256i first_lanes(std::int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

/// The first n lanes, then zeros; any n.
static inline __m256 load_first(const float* x, std::int64_t n) {
  return _mm256_maskload_ps(x, first_lanes(n));
}

static inline void store_first(float* x, std::int64_t n, __m256 value) {
  _mm256_maskstore_ps(x, first_lanes(n), value);
}

}  // namespace condensed::kernels::avx2
