#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "kernels/cpu/exp_lanes.h"
#include "kernels/dtype.h"

/// Building blocks of the AVX2 files. `static`: each file keeps its own copy, so that no code compiled for
/// AVX2 is ever linked into the rest of the program.
namespace condensed::kernels::avx2 {

constexpr std::int64_t kLanes = 8;

template <DType dtype>
struct Stored {
  static constexpr std::int64_t kBytes = dtype == DType::f32 ? 4 : 2;
};

/// All bits set in the first n lanes.
static inline __m256i first_lanes(std::int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

static inline __m256 load_first(const float* x, std::int64_t n) {
  return _mm256_maskload_ps(x, first_lanes(n));
}

static inline void store_first(float* x, std::int64_t n, __m256 value) {
  _mm256_maskstore_ps(x, first_lanes(n), value);
}

/// Eight stored numbers at any address.
template <DType dtype>
static inline __m256 load_stored(const std::byte* data) {
  if constexpr (dtype == DType::f32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(data));
  } else {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
    if constexpr (dtype == DType::bf16) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    } else {
      return _mm256_cvtph_ps(bits);
    }
  }
}

/// The first n < 8 of eight stored numbers, then zeros. Reads nothing beyond them.
template <DType dtype>
static inline __m256 load_stored_first(const std::byte* data, std::int64_t n) {
  alignas(32) std::byte padded[32] = {};
  __builtin_memcpy(padded, data, static_cast<std::size_t>(n * Stored<dtype>::kBytes));
  return load_stored<dtype>(padded);
}

}  // namespace condensed::kernels::avx2
