// Rows in every storage format: their size, their layout, what they can hold.

#include "kernels/stored_row.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/float_formats.h"
#include "tests/kernels/arrays.h"

namespace condensed::kernels::test {
namespace {

std::vector<float> stored_and_loaded(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> row(static_cast<std::size_t>(row_bytes(dtype, std::ssize(values))));
  store_row(dtype, values, row.data());
  std::vector<float> out(values.size());
  load_row(dtype, row.data(), out);
  return out;
}

std::byte byte_of(int value) {
  return static_cast<std::byte>(value & 255);
}

TEST(StoredRow, Sizes) {
  EXPECT_EQ(row_bytes(DType::f32, 5), 20);
  EXPECT_EQ(row_bytes(DType::bf16, 5), 10);
  EXPECT_EQ(row_bytes(DType::q8, 2048), 2048 + 16 * 2);
  EXPECT_EQ(row_bytes(DType::q8, 129), 129 + 2 * 2);
  EXPECT_EQ(row_bytes(DType::q4, 2048), 1024 + 64 + 8 * 2);
  EXPECT_EQ(row_bytes(DType::q4, 129), 2 * 64 + 5 + 2);
}

TEST(StoredRow, LayoutOfQ8) {
  std::vector<std::byte> row(130 + 2 * 2);
  row[0] = byte_of(-3);
  row[127] = byte_of(127);
  row[129] = byte_of(5);
  const std::uint16_t scales[] = {f32_to_f16(0.5F), f32_to_f16(-2.0F)};
  std::memcpy(row.data() + 130, scales, sizeof(scales));
  std::vector<float> out(130);
  load_row(DType::q8, row.data(), out);
  EXPECT_EQ(out[0], -1.5F);
  EXPECT_EQ(out[1], 0.0F);
  EXPECT_EQ(out[127], 63.5F);
  EXPECT_EQ(out[129], -10.0F);
}

TEST(StoredRow, LayoutOfQ4) {
  std::vector<std::byte> row(3 * 64 + 9 + 2 * 2);  // 258 numbers
  row[2 * 5] = std::byte{0x7f};                    // word 5: elements 5 (-1) and 37 (7)
  row[2 * 5 + 1] = std::byte{0x80};                // and 69 (0) and 101 (-8)
  row[64 + 2 * 31 + 1] = std::byte{0x30};          // word 31 of the second block: element 255 (3)
  row[128 + 2] = std::byte{0x02};                  // word 1 of the third: element 257 (2)
  const int factors[] = {1, -2, 5, 127, 0, 0, 0, 4, 10};
  for (int i = 0; i < 9; ++i) row[3 * 64 + i] = byte_of(factors[i]);
  const std::uint16_t scales[] = {f32_to_f16(64.0F), f32_to_f16(32.0F)};
  std::memcpy(row.data() + 3 * 64 + 9, scales, sizeof(scales));
  std::vector<float> out(258);
  load_row(DType::q4, row.data(), out);
  EXPECT_EQ(out[5], -0.5F);
  EXPECT_EQ(out[37], -7.0F);
  EXPECT_EQ(out[69], 0.0F);
  EXPECT_EQ(out[101], -508.0F);
  EXPECT_EQ(out[255], 6.0F);
  EXPECT_EQ(out[257], 5.0F);
  EXPECT_EQ(out[6], 0.0F);
}

TEST(StoredRow, KeepsWhatItCanHold) {
  Random random(5);
  for (const std::int64_t n : {1, 31, 64, 65, 127, 128, 300}) {
    std::vector<float> eighths(static_cast<std::size_t>(n));
    for (float& value : eighths) value = static_cast<float>(draw(random, -127, 127)) / 8;
    std::vector<float> halves(eighths.size());
    for (float& value : halves) value = static_cast<float>(draw(random, -8, 7)) * 127 / 512;
    for (std::size_t i = 0; i < eighths.size(); i += 32) {  // each group has its largest
      eighths[i] = 127.0F / 8;
      halves[i] = -8 * 127.0F / 512;
    }
    EXPECT_EQ(stored_and_loaded(DType::q8, eighths), eighths) << n;
    EXPECT_EQ(stored_and_loaded(DType::q4, halves), halves) << n;
    EXPECT_EQ(stored_and_loaded(DType::f32, eighths), eighths);
    EXPECT_EQ(stored_and_loaded(DType::f16, eighths), eighths);
  }
}

TEST(StoredRow, IsAsNearAsItsScaleAllows) {
  Random random(6);
  for (int i = 0; i < 200; ++i) {
    const float limit = std::exp(std::uniform_real_distribution<float>(-9, 5)(random));
    const std::vector<float> values = random_floats(random, draw(random, 1, 300), limit);
    const std::vector<float> q8 = stored_and_loaded(DType::q8, values);
    const std::vector<float> q4 = stored_and_loaded(DType::q4, values);
    double squares = 0;
    double errors = 0;
    for (std::size_t j = 0; j < values.size(); ++j) {
      // Half a step, and what rounding the scale to f16, where steps end at 2^-24, moves the largest by.
      ASSERT_LE(std::abs(q8[j] - values[j]), limit * (0.5 / 127 + 0x1p-11) + 127 * 0x1p-25) << limit;
      squares += double{values[j]} * values[j];
      errors += std::pow(double{q4[j]} - values[j], 2);
    }
    EXPECT_LE(errors, squares * 0.007 + 1e-10) << "relative error " << std::sqrt(errors / squares);
  }
}

TEST(StoredRow, OfZerosIsZeros) {
  for (const DType dtype : kWeightTypes) {
    EXPECT_EQ(stored_and_loaded(dtype, std::vector<float>(70)), std::vector<float>(70));
  }
}

TEST(StoredRow, HugeNumbersStayFinite) {
  for (const DType dtype : {DType::q8, DType::q4}) {
    for (const float value : stored_and_loaded(dtype, {3e38F, -3e38F, std::nanf(""), 1.0F})) {
      EXPECT_TRUE(std::isfinite(value));
    }
  }
}

TEST(StoredRow, FormatsHaveNames) {
  for (const DType dtype : kWeightTypes) EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  EXPECT_EQ(dtype_named("q5"), std::nullopt);
}

}  // namespace
}  // namespace condensed::kernels::test
