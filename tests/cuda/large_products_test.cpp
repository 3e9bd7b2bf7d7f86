// Products with many rows: converted activations, tiles of outputs, buckets, in every format.

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/reference/reference_backend.h"
#include "tests/kernels/arrays.h"

namespace condensed::kernels::test {
namespace {

double largest(std::span<const float> x) {
  double most = 0;
  for (const float value : x) {
    most = std::max(most, std::abs(static_cast<double>(value)));
  }
  return most;
}

TEST(LargeProducts, AreWithinTheRoundingOfTheirActivations) {
  Random random(11);
  ReferenceBackend reference;
  const auto device = emulation::make_emulated_backend();
  constexpr std::int64_t kCols = 45, kOutputs = 37;
  for (const DType dtype : {DType::bf16, DType::f16, DType::q8, DType::q4}) {
    const StoredArray weight(dtype, random_floats(random, kOutputs * kCols), 0, kCols);
    const StoredArray other(dtype, random_floats(random, kOutputs * kCols), 0, kCols);
    for (const std::int64_t rows : {9, 33, 130, 515}) {
      SCOPED_TRACE(testing::Message() << name_of(dtype) << ", " << rows << " rows");
      const auto x = random_floats(random, rows * kCols);
      const auto initial = as_doubles(random_floats(random, rows * kOutputs));
      GuardedOutput expected(rows * kOutputs), actual(rows * kOutputs);
      GuardedOutput expected_sum(initial), actual_sum(initial);
      GuardedOutput expected_gated(rows * kOutputs), actual_gated(rows * kOutputs);
      const auto run = [&](Backend& backend, std::span<float> out, std::span<double> sum,
                           std::span<float> gated) {
        const auto a = backend.load_matrix(weight.matrix());
        const auto b = backend.load_matrix(other.matrix());
        backend.matmul(*a, x, out);
        backend.matmul_add(*a, x, sum);
        backend.swiglu(*a, *b, x, gated);
      };
      run(reference, expected.span(), expected_sum.span(), expected_gated.span());
      run(*device, actual.span(), actual_sum.span(), actual_gated.span());
      // A product's activation and weight, each wrong by half a unit of 8 bits (bf16) or 11; alone,
      // activations are in two parts.
      const bool two_parts = rows <= 128;
      const double unit = dtype == DType::bf16 ? (two_parts ? 0x1p-15 : 0x1p-8) : 0x1p-10;
      for (std::int64_t i = 0; i < rows * kOutputs; ++i) {
        const auto row = std::span(x).subspan(static_cast<std::size_t>(i / kOutputs * kCols), kCols);
        const double scale = kCols * largest(row) / 4;  // what |x · w| sum up to, or more
        expect_within(actual.span()[i], expected.span()[i], unit * scale);
        expect_within(actual_sum.span()[i], expected_sum.span()[i], unit * scale);
        expect_within(actual_gated.span()[i], expected_gated.span()[i], 3 * unit * scale * scale);
      }
      if (HasFailure()) {
        return;
      }
    }
  }
}

TEST(LargeProducts, ARowComesOutTheSameWhereverItStandsInACall) {
  Random random(12);
  const auto device = emulation::make_emulated_backend();
  constexpr std::int64_t kCols = 24, kOutputs = 8, kRows = 515;  // more than a tile
  const auto one = random_floats(random, kCols);
  std::vector<float> x;
  for (std::int64_t r = 0; r < kRows; ++r) {
    x.insert(x.end(), one.begin(), one.end());
  }
  for (const DType dtype : {DType::bf16, DType::f16, DType::q8}) {
    const StoredArray weight(dtype, random_floats(random, kOutputs * kCols), 0, kCols);
    GuardedOutput out(kRows * kOutputs);
    device->matmul(*device->load_matrix(weight.matrix()), x, out.span());
    for (std::int64_t i = kOutputs; i < kRows * kOutputs; ++i) {
      ASSERT_EQ(out.span()[i], out.span()[i % kOutputs]) << name_of(dtype) << ", row " << i / kOutputs;
    }
  }
}

TEST(LargeProducts, FewerRowsOfAKeptLayoutComeOutAsAmongAll) {
  Random random(13);
  const auto device = emulation::make_emulated_backend();
  constexpr std::int64_t kCols = 24, kOutputs = 8, kRows = 130;
  const auto x = random_floats(random, kRows * kCols);
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8}) {
    const StoredArray weight(dtype, random_floats(random, kOutputs * kCols), 0, kCols);
    const auto matrix = device->load_matrix(weight.matrix());
    GuardedOutput all(kRows * kOutputs);
    device->matmul(*matrix, x, all.span());
    device->keep_layout(kRows);
    for (const std::int64_t n : {1, 8, 60, 129}) {
      GuardedOutput some(n * kOutputs);
      device->matmul(*matrix, std::span(x).last(static_cast<std::size_t>(n * kCols)), some.span());
      EXPECT_TRUE(std::ranges::equal(some.span(), all.span().last(some.span().size())))
          << name_of(dtype) << ", " << n << " rows";
    }
    device->keep_layout(0);
  }
}

TEST(LargeProducts, BearHugeAndTinyRows) {
  const auto device = emulation::make_emulated_backend();
  for (const DType dtype : {DType::bf16, DType::f16, DType::q8}) {
    const StoredArray weight(dtype, std::vector<float>(16, 1.0F), 0, 8);
    std::vector<float> x(12 * 8, 1.0F);
    for (int k = 0; k < 8; ++k) {
      x[k] = 1e30F;
      x[8 + k] = 1e-20F;
      x[16 + k] = 0;
      x[24 + k] = k == 3 ? std::nanf("") : 1.0F;
      x[32 + k] = k == 3 ? INFINITY : 1.0F;
    }
    GuardedOutput out(24);
    device->matmul(*device->load_matrix(weight.matrix()), x, out.span());
    EXPECT_NEAR(out.span()[0] / 8e30F, 1, 1e-3);
    EXPECT_NEAR(out.span()[2] / 8e-20F, 1, 1e-3);
    EXPECT_EQ(out.span()[4], 0.0F);
    EXPECT_TRUE(std::isnan(out.span()[6]));
    EXPECT_EQ(out.span()[8], INFINITY);
    EXPECT_NEAR(out.span()[10], 8, 0.01);
  }
}

}  // namespace
}  // namespace condensed::kernels::test
