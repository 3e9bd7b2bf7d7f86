#pragma once

#include <cstdint>
#include <immintrin.h>

/// Eight lanes of float32, and four of float64, in AVX2: see eight.h.
namespace condensed::kernels::CONDENSED_SIMD {

using Eight = __m256;
using EightInts = __m256i;  // of 32 bits
using FourDoubles = __m256d;

static inline __m256i first_lanes(std::int64_t n) {
  const std::int64_t in_range = n < 0 ? 0 : n > 8 ? 8 : n;
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(in_range)), lane);
}

static inline Eight eight_of(float x) {
  return _mm256_set1_ps(x);
}
static inline Eight broadcast_eight(const float* x) {
  return _mm256_broadcast_ss(x);
}
static inline Eight load_eight(const float* x) {
  return _mm256_loadu_ps(x);
}
static inline Eight load_first_eight(const float* x, std::int64_t n) {
  return _mm256_maskload_ps(x, first_lanes(n));
}
static inline void store(float* x, Eight value) {
  _mm256_storeu_ps(x, value);
}
static inline void store_first(float* x, std::int64_t n, Eight value) {
  _mm256_maskstore_ps(x, first_lanes(n), value);
}
static inline float first(Eight x) {
  return _mm256_cvtss_f32(x);
}

static inline Eight add(Eight a, Eight b) {
  return _mm256_add_ps(a, b);
}
static inline Eight subtract(Eight a, Eight b) {
  return _mm256_sub_ps(a, b);
}
static inline Eight multiply(Eight a, Eight b) {
  return _mm256_mul_ps(a, b);
}
static inline Eight divide(Eight a, Eight b) {
  return _mm256_div_ps(a, b);
}
static inline Eight multiply_add(Eight a, Eight b, Eight c) {
  return _mm256_fmadd_ps(a, b, c);
}
static inline Eight multiply_subtract(Eight a, Eight b, Eight c) {
  return _mm256_fmsub_ps(a, b, c);
}
static inline Eight subtract_product(Eight c, Eight a, Eight b) {
  return _mm256_fnmadd_ps(a, b, c);
}
static inline Eight max(Eight a, Eight b) {
  return _mm256_max_ps(a, b);  // the second if one is NaN
}
static inline Eight min(Eight a, Eight b) {
  return _mm256_min_ps(a, b);
}
static inline Eight select_less(Eight x, Eight limit, Eight less, Eight otherwise) {
  return _mm256_blendv_ps(otherwise, less, _mm256_cmp_ps(x, limit, _CMP_LT_OQ));
}
static inline Eight round_to_whole(Eight x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline Eight power_of_two(Eight n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
static inline float square_root(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}
static inline double square_root(double x) {
  return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(x)));
}

static inline float sum(Eight x) {
  const __m256 pairs = _mm256_hadd_ps(x, x);
  const __m256 quads = _mm256_hadd_ps(pairs, pairs);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1)));
}
static inline void store_sums(float* x, Eight a, Eight b, Eight c, Eight d) {
  const __m256 quads = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(x, _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1)));
}
static inline float largest(Eight x) {
  const __m256 halves = _mm256_max_ps(x, _mm256_permute2f128_ps(x, x, 1));
  const __m256 pairs = _mm256_max_ps(halves, _mm256_permute_ps(halves, 0x4e));
  return first(_mm256_max_ps(pairs, _mm256_permute_ps(pairs, 0xb1)));
}

static inline EightInts no_magnitudes() {
  return _mm256_setzero_si256();
}
static inline EightInts larger_magnitudes(EightInts so_far, Eight x) {
  const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
  return _mm256_max_epi32(so_far, bits);
}
static inline float largest_magnitude(EightInts bits) {
  const __m256i halves = _mm256_max_epi32(bits, _mm256_permute2x128_si256(bits, bits, 1));
  const __m256i pairs = _mm256_max_epi32(halves, _mm256_shuffle_epi32(halves, 0x4e));
  return first(_mm256_castsi256_ps(_mm256_max_epi32(pairs, _mm256_shuffle_epi32(pairs, 0xb1))));
}
static inline void store_rounded(std::int16_t* out, Eight low, Eight high) {
  const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute4x64_epi64(packed, 0xd8));
}

static inline FourDoubles four_of(double x) {
  return _mm256_set1_pd(x);
}
static inline FourDoubles load(const double* x) {
  return _mm256_loadu_pd(x);
}
static inline void store(double* x, FourDoubles value) {
  _mm256_storeu_pd(x, value);
}
static inline FourDoubles add(FourDoubles a, FourDoubles b) {
  return _mm256_add_pd(a, b);
}
static inline FourDoubles subtract(FourDoubles a, FourDoubles b) {
  return _mm256_sub_pd(a, b);
}
static inline FourDoubles multiply(FourDoubles a, FourDoubles b) {
  return _mm256_mul_pd(a, b);
}
static inline FourDoubles divide(FourDoubles a, FourDoubles b) {
  return _mm256_div_pd(a, b);
}
static inline FourDoubles multiply_add(FourDoubles a, FourDoubles b, FourDoubles c) {
  return _mm256_fmadd_pd(a, b, c);
}
static inline FourDoubles low_half(Eight x) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}
static inline FourDoubles high_half(Eight x) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}
static inline Eight narrowed(FourDoubles low, FourDoubles high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}
static inline double sum(FourDoubles x) {
  const __m128d pairs = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(pairs, _mm_unpackhi_pd(pairs, pairs)));
}

}  // namespace condensed::kernels::CONDENSED_SIMD
