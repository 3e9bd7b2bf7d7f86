#pragma once

#include <immintrin.h>

/// `static`: each file that is compiled for AVX2 or more keeps its own copy.
namespace condensed::kernels {

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

}  // namespace condensed::kernels
