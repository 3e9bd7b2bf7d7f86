#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace condensed::kernels {

/// How the numbers of one row (of a weight matrix; of one head of a cached key or value) are stored.
///
/// f32, bf16, f16: one after another.
/// q8: integers in [-127, 127], a byte each, then one f16 scale for every 128 of them.
/// q4: integers in [-8, 7] in blocks of 128, the last one padded; then for every 32 of them a factor, an
/// integer
///     in [-127, 127] in a byte; then for every 256 of them an f16 scale. A block is 32 little-endian words
///     of 16 bits; element 32·k + l is nibble k of word l, two's complement: 32 elements are two shifts away.
/// A number is integer · scale, for q4 integer · factor / 128 · scale, which float32 holds exactly.
enum class DType : std::uint8_t { f32, bf16, f16, q8, q4 };

constexpr bool is_quantised(DType dtype) {
  return dtype == DType::q8 || dtype == DType::q4;
}

constexpr std::int64_t kQ8Group = 128;  // numbers that share a scale
constexpr std::int64_t kQ4Group = 256;
constexpr std::int64_t kQ4FactorGroup = 32;
constexpr std::int64_t kQ4Block = 128;
constexpr float kQ4FactorUnit = 1.0F / 128;

/// Bytes of a row's numbers, without the factors and scales that follow them.
constexpr std::int64_t number_bytes(DType dtype, std::int64_t n) {
  switch (dtype) {
    case DType::f32:
      return 4 * n;
    case DType::bf16:
    case DType::f16:
      return 2 * n;
    case DType::q8:
      return n;
    case DType::q4:
      return (n + kQ4Block - 1) / kQ4Block * (kQ4Block / 2);
  }
  return 0;
}

/// Bytes of a row of n numbers.
constexpr std::int64_t row_bytes(DType dtype, std::int64_t n) {
  switch (dtype) {
    case DType::q8:
      return number_bytes(dtype, n) + (n + kQ8Group - 1) / kQ8Group * 2;
    case DType::q4:
      return number_bytes(dtype, n) + (n + kQ4FactorGroup - 1) / kQ4FactorGroup +
             (n + kQ4Group - 1) / kQ4Group * 2;
    default:
      return number_bytes(dtype, n);
  }
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::q8:
      return "q8";
    case DType::q4:
      return "q4";
  }
  return "?";
}

/// The format of that name, nothing for any other text.
constexpr std::optional<DType> dtype_named(std::string_view name) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::q8, DType::q4}) {
    if (name == name_of(dtype)) {
      return dtype;
    }
  }
  return std::nullopt;
}

}  // namespace condensed::kernels
