#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

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

/// The sums over the lanes of a, b, c and d: ((0+1)+(2+3)) + ((4+5)+(6+7)) of each.
static inline __m128 sum_lanes(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 quads = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1));
}

static inline float sum_lanes(__m256 a) {
  return _mm_cvtss_f32(sum_lanes(a, a, a, a));
}

/// e^x to about 1e-7 of the value. Below -87.3: 0; above 88.3: infinity; NaN: NaN.
static inline __m256 exp_lanes(__m256 x) {
  const __m256 lowest = _mm256_set1_ps(-87.3F);
  const __m256 highest = _mm256_set1_ps(88.3F);
  const __m256 is_zero = _mm256_cmp_ps(x, lowest, _CMP_LT_OQ);
  const __m256 is_infinite = _mm256_cmp_ps(x, highest, _CMP_GT_OQ);
  // min and max return their second operand when one is NaN.
  const __m256 clamped = _mm256_max_ps(lowest, _mm256_min_ps(highest, x));
  // e^x = 2^n · e^r with |r| <= ln(2)/2; ln(2) in two parts, the first exact in products with n.
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(1.44269504F)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), clamped);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);
  // The minimax polynomial of Cephes' expf.
  __m256 p = _mm256_set1_ps(1.9875691500e-4F);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1F));
  p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
  p = _mm256_add_ps(p, _mm256_set1_ps(1.0F));
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  const __m256 value =
      _mm256_blendv_ps(_mm256_mul_ps(p, power), _mm256_set1_ps(__builtin_inff()), is_infinite);
  return _mm256_andnot_ps(is_zero, value);
}

}  // namespace condensed::kernels::avx2
