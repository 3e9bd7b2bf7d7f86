#pragma once

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd/lanes_neon.h"
#include "kernels/dtype.h"

/// Products with q8 weights by the dot-product extension, which multiplies bytes. An activation a is
/// 256 · (a >> 8) + (a & 255), of which the second becomes signed by taking 128 off, which is made good by
/// the sum of the weights. An instruction adds up four products: two neighbours of one chunk and the two of
/// the next chunk that belong to the same lane, so that lanes are what they are elsewhere. Not q4: there
/// every chunk has a factor of its own, and a lane sees two products of it.
namespace condensed::kernels::CONDENSED_SIMD {

constexpr std::int64_t kDotColumns = 64;  // two chunks
// Of them, for each part: two registers of high bytes, then two of low ones.
constexpr std::int64_t kDotPartBytes = 64;

static inline int16x8_t bytes_apart(int16x8_t words) {  // high bytes, then low ones - 128
  const int8x16_t bytes = vreinterpretq_s8_s16(words);
  const int8x8_t high = vget_low_s8(vuzp2q_s8(bytes, bytes));
  const int8x8_t low = vget_low_s8(vuzp1q_s8(bytes, bytes));
  return vreinterpretq_s16_s8(vcombine_s8(high, veor_s8(low, vdup_n_s8(-128))));
}

/// In place: 64 activations in the order in which dots take them.
static inline void arrange_for_dots(std::int16_t* integers) {
  int16x8_t arranged[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // the i-th eight of a chunk: half of a part
    const int32x4_t pairs = vreinterpretq_s32_s16(vld1q_s16(integers + 8 * i));
    const int32x4_t pairs_of_next = vreinterpretq_s32_s16(vld1q_s16(integers + 32 + 8 * i));
    const int16x8_t first = bytes_apart(vreinterpretq_s16_s32(vzip1q_s32(pairs, pairs_of_next)));
    const int16x8_t second = bytes_apart(vreinterpretq_s16_s32(vzip2q_s32(pairs, pairs_of_next)));
    const int64x2_t a = vreinterpretq_s64_s16(first);
    const int64x2_t b = vreinterpretq_s64_s16(second);
    arranged[i / 2 * 4 + i % 2] = vreinterpretq_s16_s64(vzip1q_s64(a, b));
    arranged[i / 2 * 4 + 2 + i % 2] = vreinterpretq_s16_s64(vzip2q_s64(a, b));
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    vst1q_s16(integers + 8 * i, arranged[i]);
  }
}

static inline void arrange_activations(std::int16_t* integers, std::int64_t n, DType weights) {
  if (weights != DType::q8) {
    return part_pairs(integers, n);
  }
  for (std::int64_t i = 0; i < n; i += kDotColumns) {
    arrange_for_dots(integers + i);
  }
}

static inline Ints add_dots(Ints sums, const int8x16_t* weights, const std::byte* bytes) {
  const auto* at = reinterpret_cast<const std::int8_t*>(bytes);
  return {vdotq_s32(sums.low, weights[0], vld1q_s8(at)), vdotq_s32(sums.high, weights[1], vld1q_s8(at + 16))};
}

/// Part p of the exact products of a group of q8 weights with n_rows rows of activations, `stride` apart.
template <int n_rows, int n_parts>
[[gnu::always_inline]] static inline void multiply_bytes(const std::byte* weights,
                                                         const std::int16_t* activations, std::int64_t stride,
                                                         int p, Ints (&products)[n_rows][n_parts], int slot) {
  constexpr int kSteps = static_cast<int>(kQ8Group / kDotColumns);
  int8x16_t lanes[kSteps][2];
  Ints missing{vdupq_n_s32(0), vdupq_n_s32(0)};
  const int8x16_t ones = vdupq_n_s8(1);
#pragma GCC unroll 2
  for (int i = 0; i < kSteps; ++i) {
    const int16x8_t pairs = load_words_at(weights + i * kDotColumns + p * 16);
    const int16x8_t pairs_of_next = load_words_at(weights + i * kDotColumns + 32 + p * 16);
    lanes[i][0] = vreinterpretq_s8_s16(vzip1q_s16(pairs, pairs_of_next));
    lanes[i][1] = vreinterpretq_s8_s16(vzip2q_s16(pairs, pairs_of_next));
    missing = {vdotq_s32(missing.low, lanes[i][0], ones), vdotq_s32(missing.high, lanes[i][1], ones)};
  }
  missing = {vshlq_n_s32(missing.low, 7), vshlq_n_s32(missing.high, 7)};
#pragma GCC unroll 8
  for (int r = 0; r < n_rows; ++r) {
    const auto* bytes = reinterpret_cast<const std::byte*>(activations + r * stride) + p * kDotPartBytes;
    Ints sums{vdupq_n_s32(0), vdupq_n_s32(0)};
#pragma GCC unroll 2
    for (int i = 0; i < kSteps; ++i) {
      sums = add_dots(sums, lanes[i], bytes + i * 2 * kDotColumns);
    }
    sums = {vaddq_s32(vshlq_n_s32(sums.low, 8), missing.low),
            vaddq_s32(vshlq_n_s32(sums.high, 8), missing.high)};
#pragma GCC unroll 2
    for (int i = 0; i < kSteps; ++i) {
      sums = add_dots(sums, lanes[i], bytes + i * 2 * kDotColumns + 32);
    }
    products[r][slot] = sums;
  }
}

}  // namespace condensed::kernels::CONDENSED_SIMD
