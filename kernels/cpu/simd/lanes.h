#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

/// Sixteen lanes of float32, in as many parts as the instruction set needs. The files that include this are
/// compiled once for each set, named by CONDENSED_SIMD, and every sum is taken in the same order whichever it
/// is: a number does not depend on the processor. `static`: each file keeps its own copy, so that no code
/// compiled for one set is ever linked into what runs on others.
namespace condensed::kernels::CONDENSED_SIMD {

constexpr std::int64_t kLanes = 16;

#ifdef __AVX512F__

using Part = __m512;
using Ints = __m512i;  // of 16 bits, or of 32 once pairs are multiplied
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
/// The first n lanes, then zeros; any n.
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
/// The first n lanes; any n.
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
static inline Ints load_ints(const void* data) {
  return _mm512_loadu_si512(data);
}
static inline void store_ints(void* data, Ints value) {
  _mm512_storeu_si512(data, value);
}
static inline Ints widen_i8(const std::byte* data) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(data)));
}
/// Nibble k of every 16-bit word, with its sign.
static inline Ints nibbles(Ints words, int k) {
  return _mm512_srai_epi16(_mm512_slli_epi16(words, static_cast<unsigned>(12 - 4 * k)), 12);
}
/// Lane l: a[2l] · b[2l] + a[2l + 1] · b[2l + 1]
static inline Ints multiply_pairs(Ints a, Ints b) {
  return _mm512_madd_epi16(a, b);
}
/// The same, added to sums.
static inline Ints add_pairs(Ints sums, Ints a, Ints b) {
#ifdef __AVX512VNNI__
  return _mm512_dpwssd_epi32(sums, a, b);
#else
  return _mm512_add_epi32(sums, _mm512_madd_epi16(a, b));
#endif
}
static inline Ints multiply_ints(Ints a, Ints b) {
  return _mm512_mullo_epi16(a, b);
}
static inline Ints broadcast_ints(const std::int32_t* two) {
  return _mm512_set1_epi32(*two);
}
static inline Part to_float(Ints x) {
  return _mm512_cvtepi32_ps(x);
}
/// Eight lanes whose sum is that of all: lane l is l + (l + 8).
static inline __m256 folded(const Part* parts) {
  return _mm256_add_ps(_mm512_castps512_ps256(*parts), _mm512_extractf32x8_ps(*parts, 1));
}

#else

using Part = __m256;
using Ints = __m256i;  // of 16 bits, or of 32 once pairs are multiplied
constexpr int kPartLanes = 8;
constexpr int kRegisters = 16;

static inline Part zero() {
  return _mm256_setzero_ps();
}
static inline Part broadcast(const float* x) {
  return _mm256_broadcast_ss(x);
}
static inline Part load(const float* x) {
  return _mm256_loadu_ps(x);
}
/// The first n lanes, then zeros; any n.
static inline Part load_first(const float* x, std::int64_t n) {
  const std::int64_t in_range = n < 0 ? 0 : n > kPartLanes ? kPartLanes : n;
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(in_range)), lane));
}
static inline void store(float* x, Part value) {
  _mm256_storeu_ps(x, value);
}
static inline Part multiply_add(Part a, Part b, Part c) {
  return _mm256_fmadd_ps(a, b, c);
}
static inline Part multiply(Part a, Part b) {
  return _mm256_mul_ps(a, b);
}
static inline Part divide(Part a, Part b) {
  return _mm256_div_ps(a, b);
}
/// The first n lanes; any n.
static inline void store_first(float* x, std::int64_t n, Part value) {
  const std::int64_t in_range = n < 0 ? 0 : n > kPartLanes ? kPartLanes : n;
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  _mm256_maskstore_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(in_range)), lane), value);
}
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
static inline Ints load_ints(const void* data) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(data));
}
static inline void store_ints(void* data, Ints value) {
  _mm256_storeu_si256(static_cast<__m256i*>(data), value);
}
static inline Ints widen_i8(const std::byte* data) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
}
/// Nibble k of every 16-bit word, with its sign.
static inline Ints nibbles(Ints words, int k) {
  return _mm256_srai_epi16(_mm256_slli_epi16(words, 12 - 4 * k), 12);
}
/// Lane l: a[2l] · b[2l] + a[2l + 1] · b[2l + 1]
static inline Ints multiply_pairs(Ints a, Ints b) {
  return _mm256_madd_epi16(a, b);
}
/// The same, added to sums.
static inline Ints add_pairs(Ints sums, Ints a, Ints b) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}
static inline Ints multiply_ints(Ints a, Ints b) {
  return _mm256_mullo_epi16(a, b);
}
static inline Ints broadcast_ints(const std::int32_t* two) {
  return _mm256_set1_epi32(*two);
}
static inline Part to_float(Ints x) {
  return _mm256_cvtepi32_ps(x);
}
/// Eight lanes whose sum is that of all: lane l is l + (l + 8).
static inline __m256 folded(const Part* parts) {
  return _mm256_add_ps(parts[0], parts[1]);
}

#endif

constexpr int kParts = static_cast<int>(kLanes) / kPartLanes;

/// The sum over all lanes: those of folded(), pairwise.
static inline float sum_lanes(const Part* parts) {
  const __m256 lanes = folded(parts);
  const __m256 pairs = _mm256_hadd_ps(lanes, lanes);
  const __m256 quads = _mm256_hadd_ps(pairs, pairs);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1)));
}

/// The sums over the lanes of a, b, c and d: ((0+1)+(2+3)) + ((4+5)+(6+7)) of each.
static inline __m128 sum_lanes(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 quads = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1));
}

static inline std::uint16_t bits_at(const std::byte* at) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, at, sizeof(bits));
  return bits;
}

static inline float from_f16(std::uint16_t bits) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

/// Eight signed bytes as 16-bit numbers, each twice; out: aligned to 32 bytes.
static inline void widen_factors(const std::byte* data, std::int32_t* out) {
  const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(data)));
  _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi16(wide, wide));
  _mm_store_si128(reinterpret_cast<__m128i*>(out + 4), _mm_unpackhi_epi16(wide, wide));
}

}  // namespace condensed::kernels::CONDENSED_SIMD
