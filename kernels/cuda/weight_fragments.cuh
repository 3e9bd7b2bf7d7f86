#pragma once

#include "kernels/cuda/device_language.cuh"

/// What one lane reads of a weight row at once, in every format: pieces of eight consecutive numbers.
namespace condensed::kernels::cuda {

constexpr int kPiece = 8;

/// Where a row of a matrix begins in each of its planes.
struct WeightRow {
  const std::byte* numbers;
  const std::byte* factors;
  const std::byte* scales;
};
__device__ inline WeightRow weight_row(const Planes& matrix, std::int64_t row) {
  return {matrix.numbers + row * matrix.number_stride, matrix.factors + row * matrix.factor_stride,
          matrix.scales + row * matrix.scale_stride};
}

/// Float32 weights are summed in float64, all others in float32 (kernels/backend.h).
template <DType kType>
struct SumOf {
  using Type = float;
};
template <>
struct SumOf<DType::f32> {
  using Type = double;
};

template <DType kType>
struct Fragment;

// Units: how many fragments a row has. first(unit, piece): where a piece's numbers stand in the row.

template <>
struct Fragment<DType::f32> {
  static constexpr int kPieces = 1;
  static constexpr bool kScaled = false;
  float4 low;
  float4 high;

  __device__ static int units(int cols) { return (cols + 7) / 8; }
  __device__ static int first(int unit, int /*piece*/) { return unit * 8; }
  __device__ void load(const WeightRow& row, int unit) {
    const auto* at = reinterpret_cast<const float4*>(row.numbers) + 2 * unit;
    low = at[0];  // to stay in the cache: with many rows several blocks read it
    high = at[1];
  }
  __device__ float multiplier(int /*piece*/) const { return 1; }
  __device__ void piece(int /*piece*/, float (&out)[kPiece]) const {
    out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
    out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
  }
};

/// The two formats of 16 bits.
template <DType kType>
struct HalfFragment {
  static constexpr int kPieces = 1;
  static constexpr bool kScaled = false;
  uint4 words;

  __device__ static int units(int cols) { return (cols + 7) / 8; }
  __device__ static int first(int unit, int /*piece*/) { return unit * 8; }
  __device__ void load(const WeightRow& row, int unit) {
    words = __ldcs(reinterpret_cast<const uint4*>(row.numbers) + unit);
  }
  __device__ float multiplier(int /*piece*/) const { return 1; }
  __device__ static float number(std::uint32_t bits) {
    return kType == DType::bf16 ? bf16_bits_to_float(bits) : f16_bits_to_float(bits);
  }
  __device__ void piece(int /*piece*/, float (&out)[kPiece]) const {
    out[0] = number(words.x & 0xffffU), out[1] = number(words.x >> 16);
    out[2] = number(words.y & 0xffffU), out[3] = number(words.y >> 16);
    out[4] = number(words.z & 0xffffU), out[5] = number(words.z >> 16);
    out[6] = number(words.w & 0xffffU), out[7] = number(words.w >> 16);
  }
};
template <>
struct Fragment<DType::bf16> : HalfFragment<DType::bf16> {};
template <>
struct Fragment<DType::f16> : HalfFragment<DType::f16> {};

template <>
struct Fragment<DType::q8> {
  static constexpr int kPieces = 2;
  static constexpr bool kScaled = true;
  uint4 words;
  float scale;

  __device__ static int units(int cols) { return (cols + 15) / 16; }
  __device__ static int first(int unit, int piece) { return unit * 16 + piece * kPiece; }
  __device__ void load(const WeightRow& row, int unit) {
    words = __ldcs(reinterpret_cast<const uint4*>(row.numbers) + unit);
    const int group = unit * 16 / static_cast<int>(kQ8Group);
    scale = f16_bits_to_float(load_u16(row.scales + 2 * group));
  }
  __device__ float multiplier(int /*piece*/) const { return scale; }
  __device__ void piece(int piece, float (&out)[kPiece]) const {
    const std::uint32_t low = piece == 0 ? words.x : words.z;
    const std::uint32_t high = piece == 0 ? words.y : words.w;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[i] = signed_byte(low, i);
      out[4 + i] = signed_byte(high, i);
    }
  }
};

/// A quarter of a block of 128: eight words of 16 bits, whose nibble k belongs to the k-th 32 of the block.
template <>
struct Fragment<DType::q4> {
  static constexpr int kPieces = 4;
  static constexpr bool kScaled = true;
  uint4 words;
  std::uint32_t factors;
  float scale;

  __device__ static int units(int cols) { return (cols + 127) / 128 * 4; }
  __device__ static int first(int unit, int piece) { return unit / 4 * 128 + piece * 32 + unit % 4 * kPiece; }
  __device__ void load(const WeightRow& row, int unit) {
    words = __ldcs(reinterpret_cast<const uint4*>(row.numbers) + unit);
    factors = *(reinterpret_cast<const std::uint32_t*>(row.factors) + unit / 4);
    const int group = unit / 4 * 128 / static_cast<int>(kQ4Group);
    scale = f16_bits_to_float(load_u16(row.scales + 2 * group)) * kQ4FactorUnit;
  }
  __device__ float multiplier(int piece) const { return signed_byte(factors, piece) * scale; }
  __device__ void piece(int piece, float (&out)[kPiece]) const {
    const std::uint32_t four[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = signed_nibble(four[i] >> (4 * piece));
      out[2 * i + 1] = signed_nibble(four[i] >> (16 + 4 * piece));
    }
  }
};

/// Number `col` of a row.
template <DType kType>
__device__ float number_at(const Planes& matrix, std::int64_t row, int col) {
  using Of = Fragment<kType>;
  int unit = col / (Of::kPieces * kPiece);
  int piece = col % (Of::kPieces * kPiece) / kPiece;
  if constexpr (kType == DType::q4) {
    unit = col / 128 * 4 + col % 32 / kPiece;
    piece = col % 128 / 32;
  }
  Of fragment;
  fragment.load(weight_row(matrix, row), unit);
  float numbers[kPiece];
  fragment.piece(piece, numbers);
  float value = 0;
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {  // registers have no addresses
    value = i == col % kPiece ? numbers[i] : value;
  }
  return value * fragment.multiplier(piece);
}

}  // namespace condensed::kernels::cuda
