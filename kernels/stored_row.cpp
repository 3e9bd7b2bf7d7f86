#include "kernels/stored_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/float_formats.h"

namespace condensed::kernels {

namespace {

constexpr float kQ8Limit = 127;
constexpr float kQ4Low = -8;
constexpr float kQ4High = 7;
constexpr float kFactorLimit = 127;

std::uint16_t load_bits(const std::byte* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

void store_bits(std::byte* at, std::uint16_t bits) {
  std::memcpy(at, &bits, sizeof(bits));
}

/// Where element i of a q4 row is: a byte, and how far up in it.
struct NibblePlace {
  std::int64_t byte;
  int shift;
};

NibblePlace nibble_place(std::int64_t i) {
  const std::int64_t nibble = i % kQ4Block / 32;
  return {i / kQ4Block * (kQ4Block / 2) + i % 32 * 2 + nibble / 2, static_cast<int>(nibble % 2 * 4)};
}

/// To the nearest integer, for |value| < 2^22: the library's function is a call on old processors.
float rounded(float value) {
  constexpr float kShift = 0x1.8p23F;
  return value + kShift - kShift;
}

float inverse_of(float scale) {
  return scale == 0 ? 0.0F : 1 / scale;
}

float quantised(float value, float inverse_scale, float low, float high) {
  return rounded(std::min(high, std::max(low, value * inverse_scale)));  // NaN: low
}

/// To what f16 can hold: a scale beyond that becomes the largest one.
float f16_rounded(float value) {
  constexpr float kLargest = 65504;
  return f16_to_f32(f32_to_f16(std::clamp(value, -kLargest, kLargest)));
}

float largest_magnitude(std::span<const float> group) {
  float largest = 0;
  for (const float value : group) {
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

/// The numbers that share factor `part` of a q4 group.
std::span<const float> part_of(std::span<const float> group, std::size_t part) {
  const std::size_t first = part * kQ4FactorGroup;
  return group.subspan(first, std::min<std::size_t>(kQ4FactorGroup, group.size() - first));
}

void store_q8_group(std::span<const float> group, std::byte* integers, std::byte* scale_at) {
  const float scale = f16_rounded(largest_magnitude(group) / kQ8Limit);
  const float inverse = inverse_of(scale);
  store_bits(scale_at, f32_to_f16(scale));
  for (std::size_t i = 0; i < group.size(); ++i) {
    integers[i] =
        static_cast<std::byte>(static_cast<std::int8_t>(quantised(group[i], inverse, -kQ8Limit, kQ8Limit)));
  }
}

float squared_error(std::span<const float> group, float scale) {
  const float inverse = inverse_of(scale);
  float sum = 0;
  for (const float value : group) {
    const float error = value - scale * quantised(value, inverse, kQ4Low, kQ4High);
    sum += error * error;
  }
  return sum;
}

/// A scale near (largest magnitude) / 8, of either sign: which end of the range has the one step more.
float best_q4_scale(std::span<const float> group) {
  const float largest = largest_magnitude(group);
  float best = 0;
  float least_error = squared_error(group, 0);
  for (const float steps : {8.0F, 7.5F, 8.5F, 7.0F, 9.0F, 6.5F}) {
    for (const float sign : {-1.0F, 1.0F}) {
      const float scale = sign * largest / steps;
      if (const float error = squared_error(group, scale); error < least_error) {
        best = scale;
        least_error = error;
      }
    }
  }
  return best;
}

void load_q8(const std::byte* row, std::span<float> out) {
  const std::byte* scales = row + number_bytes(DType::q8, std::ssize(out));
  for (std::int64_t i = 0; i < std::ssize(out); ++i) {
    const float scale = f16_to_f32(load_bits(scales + 2 * (i / kQ8Group)));
    out[i] = static_cast<float>(static_cast<std::int8_t>(row[i])) * scale;
  }
}

void load_q4(const std::byte* row, std::span<float> out) {
  const std::int64_t n = std::ssize(out);
  const std::byte* factors = row + number_bytes(DType::q4, n);
  const std::byte* scales = factors + (n + kQ4FactorGroup - 1) / kQ4FactorGroup;
  for (std::int64_t i = 0; i < n; ++i) {
    const NibblePlace place = nibble_place(i);
    const int nibble = (std::to_integer<int>(row[place.byte]) >> place.shift) & 15;
    const auto factor = static_cast<std::int8_t>(factors[i / kQ4FactorGroup]);
    const int integer = (nibble - (nibble >= 8 ? 16 : 0)) * factor;
    const float scale = f16_to_f32(load_bits(scales + 2 * (i / kQ4Group)));
    out[i] = static_cast<float>(integer) * kQ4FactorUnit * scale;
  }
}

void store_q8(std::span<const float> values, std::byte* row) {
  std::byte* scales = row + number_bytes(DType::q8, std::ssize(values));
  for (std::size_t first = 0; first < values.size(); first += kQ8Group, scales += 2) {
    const std::size_t n = std::min<std::size_t>(kQ8Group, values.size() - first);
    store_q8_group(values.subspan(first, n), row + first, scales);
  }
}

/// Up to 256 numbers: the scale of each 32 becomes a factor of the largest of these scales.
void store_q4_group(std::span<const float> group, std::byte* row, std::int64_t first, std::byte* factors,
                    std::byte* scale_at) {
  std::array<float, kQ4Group / kQ4FactorGroup> scales{};
  for (std::size_t part = 0; part * kQ4FactorGroup < group.size(); ++part) {
    scales[part] = best_q4_scale(part_of(group, part));
  }
  const float scale = f16_rounded(largest_magnitude(scales) / (kFactorLimit * kQ4FactorUnit));
  const float unit = scale * kQ4FactorUnit;
  store_bits(scale_at, f32_to_f16(scale));
  for (std::size_t part = 0; part * kQ4FactorGroup < group.size(); ++part) {
    const float factor = quantised(scales[part], inverse_of(unit), -kFactorLimit, kFactorLimit);
    factors[part] = static_cast<std::byte>(static_cast<std::int8_t>(factor));
    const float inverse = inverse_of(factor * unit);
    const std::span<const float> numbers = part_of(group, part);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const auto nibble =
          static_cast<unsigned>(static_cast<int>(quantised(numbers[i], inverse, kQ4Low, kQ4High)));
      const NibblePlace place = nibble_place(first + static_cast<std::int64_t>(part * kQ4FactorGroup + i));
      row[place.byte] |= static_cast<std::byte>((nibble & 15U) << place.shift);
    }
  }
}

void store_q4(std::span<const float> values, std::byte* row) {
  const std::int64_t n = std::ssize(values);
  std::byte* factors = row + number_bytes(DType::q4, n);
  std::byte* scales = factors + (n + kQ4FactorGroup - 1) / kQ4FactorGroup;
  std::memset(row, 0, static_cast<std::size_t>(number_bytes(DType::q4, n)));
  for (std::int64_t first = 0; first < n; first += kQ4Group, scales += 2) {
    const std::int64_t length = std::min(kQ4Group, n - first);
    store_q4_group(values.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(length)), row,
                   first, factors + first / kQ4FactorGroup, scales);
  }
}

}  // namespace

void load_row(DType dtype, const std::byte* row, std::span<float> out) {
  switch (dtype) {
    case DType::f32:
      std::memcpy(out.data(), row, out.size_bytes());
      return;
    case DType::bf16:
    case DType::f16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        const std::uint16_t bits = load_bits(row + 2 * i);
        out[i] = dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
      }
      return;
    case DType::q8:
      return load_q8(row, out);
    case DType::q4:
      return load_q4(row, out);
  }
}

void store_row(DType dtype, std::span<const float> values, std::byte* row) {
  switch (dtype) {
    case DType::f32:
      std::memcpy(row, values.data(), values.size_bytes());
      return;
    case DType::bf16:
    case DType::f16:
      for (std::size_t i = 0; i < values.size(); ++i) {
        store_bits(row + 2 * i, dtype == DType::bf16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]));
      }
      return;
    case DType::q8:
      return store_q8(values, row);
    case DType::q4:
      return store_q4(values, row);
  }
}

}  // namespace condensed::kernels
