#pragma once

#include <cstddef>

#include "kernels/cpu/simd/lanes_of_eight.h"
#include "kernels/dtype.h"

/// Eight of the sixteen lanes in two registers of NEON: see lanes.h. Pairs are kept apart, the first of each
/// in one register and the second in another, so that widening products add up where their lane is.
namespace condensed::kernels::CONDENSED_SIMD {

struct Words {  // of 16 bits
  int16x8_t even;
  int16x8_t odd;
};
using Ints = EightInts;

static inline Part from_i8(const std::byte* data) {
  const int16x8_t words = vmovl_s8(vld1_s8(reinterpret_cast<const std::int8_t*>(data)));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), vcvtq_f32_s32(vmovl_high_s16(words))};
}
static inline uint16x8_t load_bits(const std::byte* data) {
  return vreinterpretq_u16_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(data)));
}
static inline Part from_bf16(const std::byte* data) {
  const uint16x8_t bits = load_bits(data);
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
}
static inline Part from_f16(const std::byte* data) {
  const float16x8_t halves = vreinterpretq_f16_u16(load_bits(data));
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}
static inline float from_f16(std::uint16_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}

static inline int16x8_t load_words_at(const void* data) {
  return vreinterpretq_s16_u8(vld1q_u8(static_cast<const std::uint8_t*>(data)));
}
static inline Words load_activations(const std::int16_t* data) {
  return {vld1q_s16(data), vld1q_s16(data + 8)};  // apart already: arrange_activations()
}
static inline Words load_words(const std::byte* data) {
  const int16x8_t low = load_words_at(data);
  const int16x8_t high = load_words_at(data + 16);
  return {vuzp1q_s16(low, high), vuzp2q_s16(low, high)};
}
static inline Words widen_i8(const std::byte* data) {
  const int16x8_t pairs = load_words_at(data);
  return {vshrq_n_s16(vshlq_n_s16(pairs, 8), 8), vshrq_n_s16(pairs, 8)};
}
static inline Words nibbles(Words words, int k) {
  const int16x8_t up = vdupq_n_s16(static_cast<std::int16_t>(12 - 4 * k));
  return {vshrq_n_s16(vshlq_s16(words.even, up), 12), vshrq_n_s16(vshlq_s16(words.odd, up), 12)};
}
static inline Ints add_pairs(Ints sums, Words a, Words b) {
  const int32x4_t low = vmlal_s16(sums.low, vget_low_s16(a.even), vget_low_s16(b.even));
  const int32x4_t high = vmlal_high_s16(sums.high, a.even, b.even);
  return {vmlal_s16(low, vget_low_s16(a.odd), vget_low_s16(b.odd)), vmlal_high_s16(high, a.odd, b.odd)};
}
static inline Ints multiply_pairs(Words a, Words b) {
  const int32x4_t low = vmull_s16(vget_low_s16(a.even), vget_low_s16(b.even));
  const int32x4_t high = vmull_high_s16(a.even, b.even);
  return {vmlal_s16(low, vget_low_s16(a.odd), vget_low_s16(b.odd)), vmlal_high_s16(high, a.odd, b.odd)};
}
static inline Words multiply_words(Words a, Words b) {
  return {vmulq_s16(a.even, b.even), vmulq_s16(a.odd, b.odd)};
}
static inline Words broadcast_words(const std::int32_t* two) {
  const int16x8_t words = vreinterpretq_s16_s32(vdupq_n_s32(*two));
  return {words, words};
}
static inline Part to_float(Ints x) {
  return {vcvtq_f32_s32(x.low), vcvtq_f32_s32(x.high)};
}

static inline void widen_factors(const std::byte* data, std::int32_t* out) {
  const int16x8_t wide = vmovl_s8(vld1_s8(reinterpret_cast<const std::int8_t*>(data)));
  vst1q_s32(out, vreinterpretq_s32_s16(vzip1q_s16(wide, wide)));
  vst1q_s32(out + 4, vreinterpretq_s32_s16(vzip2q_s16(wide, wide)));
}

static inline void part_pairs(std::int16_t* integers, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) {
    const int16x8x2_t pairs = vld2q_s16(integers + i);
    vst1q_s16(integers + i, pairs.val[0]);
    vst1q_s16(integers + i + 8, pairs.val[1]);
  }
}

}  // namespace condensed::kernels::CONDENSED_SIMD

#ifdef __ARM_FEATURE_DOTPROD
#include "kernels/cpu/simd/dots_neon.h"
#else
namespace condensed::kernels::CONDENSED_SIMD {
static inline void arrange_activations(std::int16_t* integers, std::int64_t n, DType) {
  part_pairs(integers, n);
}
}  // namespace condensed::kernels::CONDENSED_SIMD
#endif
