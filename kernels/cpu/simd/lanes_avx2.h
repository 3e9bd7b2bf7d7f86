#pragma once

#include "kernels/cpu/simd/lanes_of_eight.h"
#include "kernels/cpu/simd/words_x86.h"

/// Eight of the sixteen lanes in a register of AVX2: see lanes.h.
namespace condensed::kernels::CONDENSED_SIMD {

using Words = __m256i;  // of 16 bits
using Ints = __m256i;   // of 32 bits

static inline Part from_i8(const std::byte* data) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(data))));
}
static inline Part from_bf16(const std::byte* data) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
static inline Part from_f16(const std::byte* data) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
}
static inline Words load_words(const std::byte* data) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
}
static inline Words load_activations(const std::int16_t* data) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
}
static inline Words widen_i8(const std::byte* data) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
}
static inline Words nibbles(Words words, int k) {
  return _mm256_srai_epi16(_mm256_slli_epi16(words, 12 - 4 * k), 12);
}
static inline Ints multiply_pairs(Words a, Words b) {
  return _mm256_madd_epi16(a, b);
}
static inline Ints add_pairs(Ints sums, Words a, Words b) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}
static inline Words multiply_words(Words a, Words b) {
  return _mm256_mullo_epi16(a, b);
}
static inline Words broadcast_words(const std::int32_t* two) {
  return _mm256_set1_epi32(*two);
}
static inline Part to_float(Ints x) {
  return _mm256_cvtepi32_ps(x);
}

}  // namespace condensed::kernels::CONDENSED_SIMD
