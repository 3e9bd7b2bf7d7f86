#include "kernels/float_formats.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace condensed::kernels {

namespace {

// A 16-bit format by its definition: sign, exponent, mantissa.
double value_of(std::uint16_t bits, int mantissa_bits, int exponent_bias) {
  const int exponent_mask = (1 << (15 - mantissa_bits)) - 1;
  const int exponent = (bits >> mantissa_bits) & exponent_mask;
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  if (exponent == exponent_mask) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  if (exponent == 0) {
    return sign * std::ldexp(mantissa, 1 - exponent_bias - mantissa_bits);
  }
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - exponent_bias - mantissa_bits);
}

double f16_value(std::uint16_t bits) {
  return value_of(bits, 10, 15);
}
double bf16_value(std::uint16_t bits) {
  return value_of(bits, 7, 127);
}

void expect_same_value(float actual, double expected, unsigned bits) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(actual)) << std::hex << bits;
  } else {
    ASSERT_EQ(actual, expected) << std::hex << bits;
    ASSERT_EQ(std::signbit(actual), std::signbit(expected)) << std::hex << bits;
  }
}

// `low` and `high` are neighbours among the format's finite positive numbers: what lies between rounds to the
// nearer one, and the middle to the even one.
template <typename Round>
void expect_rounding_between(std::uint16_t low, double low_value, double high_value, const Round& round) {
  const auto high = static_cast<std::uint16_t>(low + 1);
  const auto middle = static_cast<float>((low_value + high_value) / 2);
  ASSERT_EQ(double{middle}, (low_value + high_value) / 2);  // float32 holds it
  const float infinity = std::numeric_limits<float>::infinity();
  const std::uint16_t even = (low & 1U) == 0 ? low : high;
  ASSERT_EQ(round(middle), even) << std::hex << low;
  ASSERT_EQ(round(-middle), even | 0x8000U) << std::hex << low;
  ASSERT_EQ(round(std::nextafterf(middle, 0.0F)), low) << std::hex << low;
  ASSERT_EQ(round(std::nextafterf(middle, infinity)), high) << std::hex << low;
}

}  // namespace

TEST(FloatFormats, EveryPatternHasItsValue) {
  for (unsigned i = 0; i <= 0xffffU; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    ASSERT_NO_FATAL_FAILURE(expect_same_value(f16_to_f32(bits), f16_value(bits), i));
    ASSERT_NO_FATAL_FAILURE(expect_same_value(bf16_to_f32(bits), bf16_value(bits), i));
  }
}

TEST(FloatFormats, EveryPatternComesBack) {
  for (unsigned i = 0; i <= 0xffffU; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    if (std::isnan(f16_to_f32(bits))) {
      ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f16_to_f32(bits))))) << std::hex << i;
    } else {
      ASSERT_EQ(f32_to_f16(f16_to_f32(bits)), bits);
    }
    if (std::isnan(bf16_to_f32(bits))) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(bf16_to_f32(bits))))) << std::hex << i;
    } else {
      ASSERT_EQ(f32_to_bf16(bf16_to_f32(bits)), bits);
    }
  }
}

TEST(FloatFormats, RoundsToNearestAndTiesToEven) {
  for (std::uint16_t low = 0; low < 0x7bffU; ++low) {  // up to the largest finite number
    ASSERT_NO_FATAL_FAILURE(expect_rounding_between(low, f16_value(low), f16_value(low + 1), f32_to_f16));
  }
  for (std::uint16_t low = 0; low < 0x7f7fU; ++low) {
    ASSERT_NO_FATAL_FAILURE(expect_rounding_between(low, bf16_value(low), bf16_value(low + 1), f32_to_bf16));
  }
}

TEST(FloatFormats, OverflowsToInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(f32_to_f16(std::nextafterf(65520.0F, 0.0F)), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0F), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30F), 0xfc00);
  EXPECT_EQ(f32_to_f16(infinity), 0x7c00);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32_to_bf16(-infinity), 0xff80);
}

TEST(FloatFormats, NaNStaysNaN) {
  // A payload in the low bits only would round away.
  for (const std::uint32_t bits : {0x7f800001U, 0xff800001U, 0x7fffffffU, 0x7fc00000U}) {
    const auto nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(nan)))) << std::hex << bits;
    EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan)))) << std::hex << bits;
  }
}

}  // namespace condensed::kernels
