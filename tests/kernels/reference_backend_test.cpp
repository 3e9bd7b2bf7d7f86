// The reference against numbers worked out by hand.

#include "kernels/reference/reference_backend.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/arrays.h"

namespace condensed::kernels::test {

namespace {

class Reference : public testing::Test {
 protected:
  ReferenceBackend backend_;
};

}  // namespace

TEST_F(Reference, Embed) {
  const StoredArray table(DType::bf16, std::vector<float>{1, 2, 3, 4, 5, 6}, 1, 2);
  std::vector<double> out(6);
  backend_.embed(*backend_.load_matrix(table.matrix()), std::vector<std::int32_t>{2, 0, 2}, out);
  EXPECT_EQ(out, (std::vector<double>{5, 6, 1, 2, 5, 6}));
}

TEST_F(Reference, RmsNorm) {
  // mean(3², 4²) = 12.5, and 12.5 + 12.5 = 5²; mean(0, 5²) is the same.
  const std::vector<double> x = {3, 4, 0, 5};
  std::vector<float> out(4);
  backend_.rms_norm(x, std::vector<float>{5, 10}, 12.5F, out);
  EXPECT_EQ(out, (std::vector<float>{3, 8, 0, 10}));
}

TEST_F(Reference, Matmul) {
  const StoredArray weight(DType::f16, std::vector<float>{1, 2, 3, -1, 0, 1}, 1, 3);  // [2, 3]
  const auto matrix = backend_.load_matrix(weight.matrix());
  const std::vector<float> x = {1, 1, 1, 2, 0, -1};
  std::vector<float> out = {100, 100, 100, 100};
  backend_.matmul(*matrix, x, out);
  EXPECT_EQ(out, (std::vector<float>{6, 0, -1, -3}));
  std::vector<double> residual = {1, 1, 1, 1};
  backend_.matmul_add(*matrix, x, residual);
  EXPECT_EQ(residual, (std::vector<double>{7, 1, 0, -2}));
}

TEST_F(Reference, RotateByQuarterTurnAndByNothing) {
  // Pairs are (0, 2) and (1, 3). The first row's angles are 90° and 0°, the second row's 0° and 90°.
  const std::vector<float> x = {1, 2, 3, 4, 1, 2, 3, 4};
  const std::vector<float> angles = {0, 1, 1, 0, 1, 0, 0, 1};
  std::vector<float> out(8);
  backend_.rotate(x, angles, 4, out);
  EXPECT_EQ(out, (std::vector<float>{-3, 2, 1, 4, 1, -4, 3, 2}));
}

TEST_F(Reference, Swiglu) {
  const StoredArray gate(DType::f32, std::vector<float>{0, 0, 1, 1}, 0, 2);
  const StoredArray up(DType::f32, std::vector<float>{7, 0, 0, 4}, 0, 2);
  const std::vector<float> x = {std::log(3.0F) - 1, 1};
  std::vector<float> out(2);
  backend_.swiglu(*backend_.load_matrix(gate.matrix()), *backend_.load_matrix(up.matrix()), x, out);
  EXPECT_EQ(out[0], 0.0F);
  EXPECT_FLOAT_EQ(out[1], std::log(3.0F) * 3);  // sigmoid(ln 3) = 3/4
}

TEST_F(Reference, AttendWeighsByScoreAndFrame) {
  // Scores are q·k / sqrt(4). In the stream frame head 0 scores (0, ln 3): weights 1/4 and 3/4.
  const auto log3 = std::log(3.0F);
  const std::vector<float> keys = {0, 0, 0, 0, 1, 0, 0, 0};
  const std::vector<float> values = {4, 0, 0, 8, 8, 0, 4, 0};
  const StoredArray stored_keys(DType::f32, keys, 0, 4);
  const StoredArray stored_values(DType::f32, values, 0, 4);
  KvRun run{stored_keys.data(), stored_values.data(), 2, 16, 32, DType::f32, Frame::stream};
  const std::vector<float> stream = {2 * log3, 0, 0, 0, 0, 0, 0, 0};
  const std::vector<float> sink = {0, 0, 0, 0, 2 * log3, 0, 0, 0};
  const std::vector<std::int32_t> run_begin = {0, 1};
  std::vector<float> out(8);
  backend_.attend({2, 1, 4}, stream, sink, {&run, 1}, run_begin, out);
  const std::vector<float> weighed = {7, 0, 3, 2};
  const std::vector<float> mean = {6, 0, 2, 4};
  for (int d = 0; d < 4; ++d) {
    EXPECT_FLOAT_EQ(out[d], weighed[d]);
    EXPECT_FLOAT_EQ(out[4 + d], mean[d]);
  }
  run.frame = Frame::sink;
  backend_.attend({2, 1, 4}, stream, sink, {&run, 1}, run_begin, out);
  for (int d = 0; d < 4; ++d) {
    EXPECT_FLOAT_EQ(out[d], mean[d]);
    EXPECT_FLOAT_EQ(out[4 + d], weighed[d]);
  }
}

}  // namespace condensed::kernels::test
