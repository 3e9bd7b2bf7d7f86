#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "kernels/dtype.h"

/// What is the same in AVX2 and AVX-512: see lanes.h.
namespace condensed::kernels::CONDENSED_SIMD {

static inline float from_f16(std::uint16_t bits) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

static inline void widen_factors(const std::byte* data, std::int32_t* out) {
  const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(data)));
  _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi16(wide, wide));
  _mm_store_si128(reinterpret_cast<__m128i*>(out + 4), _mm_unpackhi_epi16(wide, wide));
}

/// They are multiplied in the order they are in.
static inline void arrange_activations(std::int16_t*, std::int64_t, DType) {}

}  // namespace condensed::kernels::CONDENSED_SIMD
