#pragma once

#include "kernels/cpu/simd/eight.h"
#include "kernels/cpu/simd/words_x86.h"

/// Sixteen lanes in one register of AVX-512: see lanes.h.
namespace condensed::kernels::CONDENSED_SIMD {

using Part = __m512;
using Words = __m512i;  // of 16 bits
using Ints = __m512i;   // of 32 bits
constexpr int kPartLanes = 16;
constexpr int kRegisters = 32;

static inline Part zero() {
  return _mm512_setzero_ps();
}
static inline Part broadcast(const float* x) {
  return _mm512_set1_ps(*x);
}
static inline Part load(const float* x) {
  return _mm512_loadu_ps(x);
}
static inline Part load_first(const float* x, std::int64_t n) {
  const std::int64_t in_range = n < 0 ? 0 : n > kPartLanes ? kPartLanes : n;
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << in_range) - 1U), x);
}
static inline void store(float* x, Part value) {
  _mm512_storeu_ps(x, value);
}
static inline Part multiply_add(Part a, Part b, Part c) {
  return _mm512_fmadd_ps(a, b, c);
}
static inline Part multiply(Part a, Part b) {
  return _mm512_mul_ps(a, b);
}
static inline Part divide(Part a, Part b) {
  return _mm512_div_ps(a, b);
}
static inline void store_first(float* x, std::int64_t n, Part value) {
  const std::int64_t in_range = n < 0 ? 0 : n > kPartLanes ? kPartLanes : n;
  _mm512_mask_storeu_ps(x, static_cast<__mmask16>((1U << in_range) - 1U), value);
}
static inline Part from_i8(const std::byte* data) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data))));
}
static inline Part from_bf16(const std::byte* data) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
static inline Part from_f16(const std::byte* data) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(data)));
}
static inline Words load_words(const std::byte* data) {
  return _mm512_loadu_si512(data);
}
static inline Words load_activations(const std::int16_t* data) {
  return _mm512_loadu_si512(data);
}
static inline Words widen_i8(const std::byte* data) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(data)));
}
static inline Words nibbles(Words words, int k) {
  return _mm512_srai_epi16(_mm512_slli_epi16(words, static_cast<unsigned>(12 - 4 * k)), 12);
}
static inline Ints multiply_pairs(Words a, Words b) {
  return _mm512_madd_epi16(a, b);
}
static inline Ints add_pairs(Ints sums, Words a, Words b) {
#ifdef __AVX512VNNI__
  return _mm512_dpwssd_epi32(sums, a, b);
#else
  return _mm512_add_epi32(sums, _mm512_madd_epi16(a, b));
#endif
}
static inline Words multiply_words(Words a, Words b) {
  return _mm512_mullo_epi16(a, b);
}
static inline Words broadcast_words(const std::int32_t* two) {
  return _mm512_set1_epi32(*two);
}
static inline Part to_float(Ints x) {
  return _mm512_cvtepi32_ps(x);
}
static inline Eight folded(const Part* parts) {
  return _mm256_add_ps(_mm512_castps512_ps256(*parts), _mm512_extractf32x8_ps(*parts, 1));
}

}  // namespace condensed::kernels::CONDENSED_SIMD
