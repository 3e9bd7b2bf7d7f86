// Every operation of every backend against the reference, over random odd sizes.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/reference/reference_backend.h"
#include "tests/kernels/arrays.h"
#include "tests/kernels/attention_case.h"

namespace condensed::kernels::test {

namespace {

class Operations : public BackendTest {
 protected:
  Random random_{20240601};
  ReferenceBackend reference_;
};
INSTANTIATE_TEST_SUITE_P(Backends, Operations, all_backends(), name_of_choice);

// The dot product of n terms: n/8 additions in a lane, three between lanes, one of the epilogue, and the
// roundings of the reference's result.
double dot_tolerance(std::span<const float> x, const StoredArray& weight, std::int64_t row,
                     bool rounded_activations = false) {
  double magnitude = 0;
  const auto cols = static_cast<std::int64_t>(x.size());
  const std::vector<float> weights = weight.row(row);
  for (std::int64_t c = 0; c < cols; ++c) {
    magnitude += std::abs(double{x[c]} * weights[c]);
  }
  double tolerance = (static_cast<double>(cols) / 8 + 6) * kRounding * (magnitude + 1);
  if (rounded_activations) {
    // Activations in two parts of bf16's 8 bits; dequantised weights in f16's 11.
    tolerance += magnitude * (is_quantised(weight.dtype()) ? 0x1p-10 : 0x1p-15);
  }
  if (is_quantised(weight.dtype())) {
    // Activations in 16 bits: each is wrong by up to half a step of its group's largest.
    float largest = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      largest = std::max(largest, std::abs(x[c]));
    }
    for (std::int64_t c = 0; c < cols; ++c) {
      tolerance += 0.51 * std::abs(double{weights[c]}) * double{largest} / 32767;
    }
  }
  return tolerance;
}

void check_matmul(Random& random, Backend& backend, Backend& reference, DType dtype) {
  const int rows = draw(random, 1, 9);
  const int cols = draw(random, 1, 300);
  const int outputs = draw(random, 1, 70);
  SCOPED_TRACE(testing::Message() << name_of(dtype) << " " << rows << " x " << cols << " x " << outputs);
  const auto x = random_floats(random, rows * cols);
  const auto initial = as_doubles(random_floats(random, rows * outputs));
  const StoredArray weight(dtype, random_floats(random, outputs * cols), draw(random, 0, 5), cols);
  const auto view = weight.matrix();
  GuardedOutput expected(rows * outputs);
  GuardedOutput actual(rows * outputs);
  GuardedOutput expected_sum(initial);
  GuardedOutput actual_sum(initial);
  reference.matmul(*reference.load_matrix(view), x, expected.span());
  backend.matmul(*backend.load_matrix(view), x, actual.span());
  reference.matmul_add(*reference.load_matrix(view), x, expected_sum.span());
  backend.matmul_add(*backend.load_matrix(view), x, actual_sum.span());
  for (int r = 0; r < rows; ++r) {
    for (int o = 0; o < outputs; ++o) {
      const double tolerance = dot_tolerance(std::span(x).subspan(r * cols, cols), weight, o,
                                             rounds_activations(backend, dtype, rows));
      expect_within(actual.span()[r * outputs + o], expected.span()[r * outputs + o], tolerance);
      expect_within(actual_sum.span()[r * outputs + o], expected_sum.span()[r * outputs + o], tolerance);
    }
  }
}

}  // namespace

TEST_P(Operations, Matmul) {
  for (int i = 0; i < 100 && !HasFailure(); ++i) {
    check_matmul(random_, backend(), reference_, kWeightTypes[i % 5]);
  }
}

TEST_P(Operations, MatmulLargeEnoughToBeShared) {
  constexpr std::int64_t kRows = 5, kCols = 301, kOutputs = 1003;
  for (const DType dtype : kWeightTypes) {
    const auto x = random_floats(random_, kRows * kCols);
    const StoredArray weight(dtype, random_floats(random_, kOutputs * kCols), 1, kCols);
    GuardedOutput expected(kRows * kOutputs);
    GuardedOutput actual(kRows * kOutputs);
    const auto view = weight.matrix();
    reference_.matmul(*reference_.load_matrix(view), x, expected.span());
    backend().matmul(*backend().load_matrix(view), x, actual.span());
    for (std::int64_t i = 0; i < kRows * kOutputs && !HasFailure(); ++i) {
      expect_within(actual.span()[i], expected.span()[i],
                    dot_tolerance(std::span(x).subspan(i / kOutputs * kCols, kCols), weight, i % kOutputs));
    }
  }
}

TEST_P(Operations, MatmulKeepsInfinityInItsOwnOutput) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> weights = {1, 2, 3, kInfinity, 5, 6};  // [2, 3]
  const std::vector<float> x = {1, 1, 1};
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const StoredArray weight(dtype, weights, 0, 3);
    GuardedOutput out(2);
    backend().matmul(*backend().load_matrix(weight.matrix()), x, out.span());
    EXPECT_EQ(out.span()[0], 6.0F);
    EXPECT_EQ(out.span()[1], kInfinity);
  }
}

TEST_P(Operations, MatmulShowsWhatIsNotFiniteInItsOwnRow) {
  constexpr std::int64_t kRows = 3, kCols = 300, kOutputs = 9;
  for (const DType dtype : kWeightTypes) {
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      auto x = random_floats(random_, kRows * kCols);
      x[kCols + 170] = bad;
      const StoredArray weight(dtype, random_floats(random_, kOutputs * kCols), 0, kCols);
      GuardedOutput out(kRows * kOutputs);
      backend().matmul(*backend().load_matrix(weight.matrix()), x, out.span());
      for (std::int64_t i = 0; i < kRows * kOutputs; ++i) {
        EXPECT_EQ(std::isfinite(out.span()[i]), i / kOutputs != 1) << name_of(dtype) << " output " << i;
      }
    }
  }
}

TEST_P(Operations, MatmulOfHugeAndTinyActivations) {
  constexpr std::int64_t kCols = 300;
  for (const DType dtype : kWeightTypes) {
    const StoredArray weight(dtype, random_floats(random_, kCols), 0, kCols);
    for (const float size : {1e-38F, 1e-25F, 1e25F}) {
      const auto x = random_floats(random_, kCols, size);
      GuardedOutput expected(1);
      GuardedOutput actual(1);
      reference_.matmul(*reference_.load_matrix(weight.matrix()), x, expected.span());
      backend().matmul(*backend().load_matrix(weight.matrix()), x, actual.span());
      expect_within(actual.span()[0], expected.span()[0], 1e-3 * double{size} * std::sqrt(300) + 1e-36);
    }
  }
}

TEST_P(Operations, Embed) {
  for (int i = 0; i < 30 && !HasFailure(); ++i) {
    const int vocab = draw(random_, 1, 40);
    const int cols = draw(random_, 1, 300);
    const StoredArray table(kWeightTypes[i % 5], random_floats(random_, vocab * cols), draw(random_, 0, 5),
                            cols);
    std::vector<std::int32_t> tokens(draw(random_, 1, 9));
    std::ranges::generate(tokens, [&] { return draw(random_, 0, vocab - 1); });
    const auto view = table.matrix();
    GuardedOutput<double> expected(std::ssize(tokens) * cols);
    GuardedOutput<double> actual(std::ssize(tokens) * cols);
    reference_.embed(*reference_.load_matrix(view), tokens, expected.span());
    backend().embed(*backend().load_matrix(view), tokens, actual.span());
    EXPECT_TRUE(std::ranges::equal(actual.span(), expected.span()));
  }
}

TEST_P(Operations, RmsNorm) {
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    const int rows = draw(random_, 1, 9);
    const int cols = draw(random_, 1, 300);
    const auto x = as_doubles(random_floats(random_, rows * cols, i % 2 == 0 ? 1.0F : 1000.0F));
    const auto weight = random_floats(random_, cols);
    GuardedOutput expected(rows * cols);
    GuardedOutput actual(rows * cols);
    reference_.rms_norm(x, weight, 1e-5F, expected.span());
    backend().rms_norm(x, weight, 1e-5F, actual.span());
    // The sum of squares, its root and quotient, two products, and the reference's own rounding.
    const double relative = (cols / 8.0 + 12) * kRounding;
    for (int j = 0; j < rows * cols; ++j) {
      expect_within(actual.span()[j], expected.span()[j], relative * std::abs(expected.span()[j]) + 1e-30);
    }
  }
}

TEST_P(Operations, Rotate) {
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    const int rows = draw(random_, 1, 9);
    const int heads = draw(random_, 1, 8);
    const int head_dim = 2 * draw(random_, 1, 65);
    const auto x = random_floats(random_, rows * heads * head_dim);
    auto angles = random_floats(random_, rows * head_dim);
    GuardedOutput expected(rows * heads * head_dim);
    GuardedOutput actual(rows * heads * head_dim);
    GuardedOutput in_place(x);
    reference_.rotate(x, angles, head_dim, expected.span());
    backend().rotate(x, angles, head_dim, actual.span());
    backend().rotate(in_place.span(), angles, head_dim, in_place.span());
    expect_same_bits(in_place.span(), actual.span());
    for (int j = 0; j < rows * heads * head_dim; ++j) {
      expect_within(actual.span()[j], expected.span()[j], 4 * kRounding);  // two products of at most 1
    }
  }
}

TEST_P(Operations, ProjectIsMatmulAndRotate) {
  for (int i = 0; i < 40 && !HasFailure(); ++i) {
    const int rows = draw(random_, 1, 11);
    const int cols = draw(random_, 1, 200);
    const int head_dim = 2 * draw(random_, 1, 20);
    SCOPED_TRACE(testing::Message() << i << ": " << rows << " x " << cols << ", heads of " << head_dim);
    const auto x = random_floats(random_, rows * cols);
    const auto stream = random_floats(random_, rows * head_dim);
    const auto sink = random_floats(random_, rows * head_dim);
    std::vector<std::unique_ptr<Matrix>> weights;
    std::vector<StoredArray> stored;
    std::deque<GuardedOutput<float>> expected, actual;
    for (int m = 0; m < 5; ++m) {  // queries, keys, values; then of two more matrices queries
      const int outputs = head_dim * draw(random_, 1, 4);
      const DType dtype = kWeightTypes[(i + (i % 4 == 0 ? m : 0)) % 5];
      stored.emplace_back(dtype, random_floats(random_, outputs * cols), 0, cols);
      for (int of = 0; of < 2; ++of) {  // in the stream's frame and in the sinks'
        expected.emplace_back(rows * outputs);
        actual.emplace_back(rows * outputs);
      }
    }
    std::vector<Projection> projections;
    for (int m = 0; m < 5; ++m) {
      weights.push_back(backend().load_matrix(stored[m].matrix()));
      const auto plain = expected[2 * m].span();
      backend().matmul(*weights[m], x, plain);
      projections.push_back({.weight = weights[m].get(), .out = actual[2 * m].span()});
      if (m != 1 && m != 2) {
        backend().rotate(plain, sink, head_dim, expected[2 * m + 1].span());
        projections[m].out_sink = actual[2 * m + 1].span();
      }
      if (m != 2) {
        backend().rotate(plain, stream, head_dim, plain);
        projections[m].rotated = true;
      }
    }
    backend().project(projections, x, {.stream = stream, .sink = sink, .head_dim = head_dim});
    for (std::size_t m = 0; m < expected.size(); ++m) {
      expect_same_bits(actual[m].span(), expected[m].span());
    }
  }
}

TEST_P(Operations, Swiglu) {
  for (int i = 0; i < 100 && !HasFailure(); ++i) {
    const DType dtype = kWeightTypes[i % 5];
    const int rows = draw(random_, 1, 9);
    const int cols = draw(random_, 1, 300);
    const int outputs = i == 0 ? 2001 : draw(random_, 1, 70);
    SCOPED_TRACE(testing::Message() << name_of(dtype) << " " << rows << " x " << cols << " x " << outputs);
    const auto x = random_floats(random_, rows * cols);
    const StoredArray gate(dtype, random_floats(random_, outputs * cols, i % 2 == 0 ? 1.0F : 20.0F), 3, cols);
    const StoredArray up(dtype, random_floats(random_, outputs * cols), 2, cols);
    std::vector<double> gates(rows * outputs);
    std::vector<double> ups(rows * outputs);
    reference_.matmul_add(*reference_.load_matrix(gate.matrix()), x, gates);
    reference_.matmul_add(*reference_.load_matrix(up.matrix()), x, ups);
    GuardedOutput expected(rows * outputs);
    GuardedOutput actual(rows * outputs);
    const auto run = [&](Backend& backend, std::span<float> out) {
      backend.swiglu(*backend.load_matrix(gate.matrix()), *backend.load_matrix(up.matrix()), x, out);
    };
    run(reference_, expected.span());
    run(backend(), actual.span());
    for (int j = 0; j < rows * outputs; ++j) {
      // silu's slope is at most 1.1; exp is good to 1e-7, and below 2^-126 absolutely.
      const auto row = std::span(x).subspan(j / outputs * cols, cols);
      const bool rounded = rounds_activations(backend(), dtype, rows);
      const double gate_tolerance = dot_tolerance(row, gate, j % outputs, rounded);
      const double up_tolerance = dot_tolerance(row, up, j % outputs, rounded);
      const double tolerance = 1.1 * std::abs(ups[j]) * gate_tolerance + std::abs(gates[j]) * up_tolerance +
                               1.1 * gate_tolerance * up_tolerance +
                               8 * kRounding * std::abs(expected.span()[j]) + 1e-35;
      expect_within(actual.span()[j], expected.span()[j], tolerance);
    }
  }
}

TEST_P(Operations, SwigluOfMatricesInDifferentFormats) {
  constexpr std::int64_t kRows = 3, kCols = 300, kOutputs = 50;
  const auto x = random_floats(random_, kRows * kCols);
  for (const auto& [gate_type, up_type] :
       {std::pair{DType::bf16, DType::q8}, std::pair{DType::q4, DType::f32},
        std::pair{DType::f32, DType::f16}}) {
    const StoredArray gate(gate_type, random_floats(random_, kOutputs * kCols), 0, kCols);
    const StoredArray up(up_type, random_floats(random_, kOutputs * kCols), 0, kCols);
    GuardedOutput expected(kRows * kOutputs);
    GuardedOutput actual(kRows * kOutputs);
    reference_.swiglu(*reference_.load_matrix(gate.matrix()), *reference_.load_matrix(up.matrix()), x,
                      expected.span());
    backend().swiglu(*backend().load_matrix(gate.matrix()), *backend().load_matrix(up.matrix()), x,
                     actual.span());
    for (std::int64_t i = 0; i < kRows * kOutputs; ++i) {
      expect_within(actual.span()[i], expected.span()[i], 0.05);
    }
  }
}

TEST_P(Operations, SwigluAtTheEdges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const StoredArray up(DType::f32, std::vector<float>(6, 2.0F), 0, 1);
  const StoredArray gate(DType::f32,
                         std::vector<float>{0.0F, 1e30F, -1e30F, kInfinity, std::nanf(""), -87.5F}, 0, 1);
  GuardedOutput out(6);
  backend().swiglu(*backend().load_matrix(gate.matrix()), *backend().load_matrix(up.matrix()),
                   std::vector<float>{1.0F}, out.span());
  EXPECT_EQ(out.span()[0], 0.0F);
  EXPECT_EQ(out.span()[1], 2e30F);
  EXPECT_EQ(out.span()[2], 0.0F);
  EXPECT_EQ(out.span()[3], kInfinity);
  EXPECT_TRUE(std::isnan(out.span()[4]));
  EXPECT_NEAR(out.span()[5], 0.0F, 1e-35F);
}

TEST_P(Operations, Attend) {
  for (int i = 0; i < 80 && !HasFailure(); ++i) {
    const int group = draw(random_, 1, 8);
    const int n_kv_heads = draw(random_, 1, 4);
    const AttentionShape shape{group * n_kv_heads, n_kv_heads, 2 * draw(random_, 1, 65)};
    const float limit = i % 4 == 0 ? 5.0F : 1.0F;
    const AttentionCase attention(random_, shape, draw(random_, 1, 9), 90, limit);
    const auto expected = attention.attend_all(reference_);
    const auto actual = attention.attend_all(backend());
    SCOPED_TRACE(testing::Message() << shape.n_heads << " heads, " << n_kv_heads << " of keys, dim "
                                    << shape.head_dim);
    for (std::int64_t j = 0; j < std::ssize(expected); ++j) {
      expect_within(actual[j], expected[j], attention.tolerance(static_cast<int>(j / attention.row_size())));
    }
  }
}

TEST_P(Operations, AttendSeesNothing) {
  const AttentionShape shape{4, 2, 6};
  const auto queries = random_floats(random_, 2 * 24);
  const KvRun empty{};
  const std::vector<std::int32_t> run_begin = {0, 0, 1};  // no run; an empty run
  GuardedOutput out(random_floats(random_, 2 * 24));
  backend().attend(shape, queries, queries, {&empty, 1}, run_begin, out.span());
  expect_same_bits(out.span(), std::vector<float>(2 * 24));
}

TEST_P(Operations, AttendStaysFiniteForHugeScores) {
  const AttentionShape shape{1, 1, 2};
  const std::vector<float> query = {1e4F, 0};
  const std::vector<float> keys = {-1e4F, 0, 1e4F, 0, 0, 0};
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const StoredArray stored_keys(DType::f32, keys, 0, 2);
  const StoredArray stored_values(DType::f32, values, 0, 2);
  const KvRun run{stored_keys.data(), stored_values.data(), 3, 8, 0, DType::f32, Frame::stream};
  GuardedOutput out(2);
  backend().attend(shape, query, query, {&run, 1}, std::vector<std::int32_t>{0, 1}, out.span());
  EXPECT_EQ(out.span()[0], 3.0F);
  EXPECT_EQ(out.span()[1], 4.0F);
}

TEST_P(Operations, AttendShowsNaN) {
  const AttentionShape shape{3, 1, 8};
  auto queries = random_floats(random_, 24);
  queries[1] = std::nanf("");  // the first head's
  const StoredArray kv(DType::f32, random_floats(random_, 5 * 8), 0, 8);
  const KvRun run{kv.data(), kv.data(), 5, 32, 0, DType::f32, Frame::stream};
  GuardedOutput out(24);
  backend().attend(shape, queries, queries, {&run, 1}, std::vector<std::int32_t>{0, 1}, out.span());
  EXPECT_TRUE(std::isnan(out.span()[0]));
  EXPECT_FALSE(std::isnan(out.span()[8]));
}

}  // namespace condensed::kernels::test
