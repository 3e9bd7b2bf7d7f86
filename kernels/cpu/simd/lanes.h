#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd/eight.h"

/// Sixteen lanes of float32, in as many parts as the instruction set needs. Every sum is taken in the same
/// order whichever it is: a number does not depend on the processor. As in eight.h, every function is there
/// for each set, and `static`:
///
/// zero(), broadcast(&number), load(), load_first(x, n), store(), store_first(x, n, part): of a Part; any n.
/// multiply_add(a, b, c): a · b + c, rounded once; multiply(), divide().
/// from_i8(), from_bf16(), from_f16(): a part of stored numbers as float32.
/// folded(parts): eight lanes whose sum is that of all: lane l is l + (l + 8).
/// Words: two neighbours of 16 bits for each lane of a part; Ints: 32 bits for each lane.
/// load_words(), widen_i8(): of stored 16-bit words and bytes; load_activations(): of what
///   arrange_activations() put into the order that the set likes best, a group at a time.
/// nibbles(words, k): nibble k of every word, with its sign. broadcast_words(&two): the same pair in all
/// lanes. multiply_pairs(a, b): in lane l, a[2l] · b[2l] + a[2l + 1] · b[2l + 1]; add_pairs(sums, a, b):
/// added to sums. widen_factors(data, out): eight signed bytes as 16-bit numbers, each twice; out: aligned to
/// 32 bytes.
#if defined(__AVX512F__)
#include "kernels/cpu/simd/lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/simd/lanes_avx2.h"
#else
#include "kernels/cpu/simd/lanes_neon.h"
#endif

namespace condensed::kernels::CONDENSED_SIMD {

constexpr std::int64_t kLanes = 16;
constexpr int kParts = static_cast<int>(kLanes) / kPartLanes;

/// The sum over all lanes.
static inline float sum_lanes(const Part* parts) {
  return sum(folded(parts));
}

static inline std::uint16_t bits_at(const std::byte* at) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, at, sizeof(bits));
  return bits;
}

}  // namespace condensed::kernels::CONDENSED_SIMD
