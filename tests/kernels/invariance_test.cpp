// A row's numbers are the same bits whatever the batch around it and however many threads there are.

#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/arrays.h"
#include "tests/kernels/attention_case.h"

namespace condensed::kernels::test {

namespace {

class Invariance : public BackendTest {
 protected:
  // operation(rows of x, out): `operation` on all rows must give what it gives on each alone.
  using RowOperation = std::function<void(std::span<const float> x, std::span<float> out)>;

  static void expect_row_alone_is_same(std::span<const float> x, std::int64_t rows, std::int64_t out_cols,
                                       const RowOperation& operation) {
    const auto cols = static_cast<std::int64_t>(x.size()) / rows;
    GuardedOutput together(rows * out_cols);
    operation(x, together.span());
    for (std::int64_t r = 0; r < rows; ++r) {
      SCOPED_TRACE(testing::Message() << "row " << r << " of " << rows);
      GuardedOutput alone(out_cols);
      operation(x.subspan(r * cols, cols), alone.span());
      ASSERT_NO_FATAL_FAILURE(
          expect_same_bits(alone.span(), together.span().subspan(r * out_cols, out_cols)));
    }
  }

  Random random_{20240602};
};
INSTANTIATE_TEST_SUITE_P(Backends, Invariance, all_backends(), name_of_choice);

struct MatmulSize {
  std::int64_t cols;
  std::int64_t outputs;
};

// A batch large enough that every operation is shared out among threads.
std::vector<std::vector<float>> outputs_of_all_operations(Backend& backend) {
  Random random(20240603);
  constexpr int kRows = 37, kCols = 515, kOutputs = 403, kHeadDim = 66, kHeads = 6;
  std::vector<std::vector<float>> outputs;
  const auto x = random_floats(random, kRows * kCols);
  for (const DType dtype : kWeightTypes) {
    const StoredArray weight(dtype, random_floats(random, kOutputs * kCols), 1, kCols);
    const StoredArray other(dtype, random_floats(random, kOutputs * kCols), 0, kCols);
    const auto matrix = backend.load_matrix(weight.matrix());
    for (const std::int64_t rows : {1, 2, kRows}) {
      const std::span<const float> some = std::span(x).first(static_cast<std::size_t>(rows * kCols));
      backend.matmul(*matrix, some, outputs.emplace_back(rows * kOutputs));
      std::vector<double> residual(rows * kOutputs);
      backend.matmul_add(*matrix, some, residual);
      outputs.emplace_back(residual.begin(), residual.end());
      backend.swiglu(*matrix, *backend.load_matrix(other.matrix()), some,
                     outputs.emplace_back(rows * kOutputs));
    }
  }
  const auto norm_weight = random_floats(random, kCols);
  const auto many = random_floats(random, 400 * kCols);
  backend.rms_norm(as_doubles(many), norm_weight, 1e-5F, outputs.emplace_back(many.size()));
  const auto heads = random_floats(random, 300 * kHeads * kHeadDim);
  const auto angles = random_floats(random, 300 * kHeadDim);
  backend.rotate(heads, angles, kHeadDim, outputs.emplace_back(heads.size()));
  const AttentionCase attention(random, {kHeads, 2, kHeadDim}, kRows, 100, 1.0F);
  outputs.push_back(attention.attend_all(backend));
  return outputs;
}

std::unique_ptr<Backend> make_plainest_vector_backend() {
  auto backend = make_if_available({"avx2", 1});
  return backend != nullptr ? std::move(backend) : make_if_available({"neon", 1});
}

// FNV-1a over the bits.
std::uint64_t digest_of(const std::vector<std::vector<float>>& outputs) {
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const auto& output : outputs) {
    for (const float number : output) {
      digest = (digest ^ std::bit_cast<std::uint32_t>(number)) * 0x100000001b3;
    }
  }
  return digest;
}

}  // namespace

TEST_P(Invariance, MatmulRowAlone) {
  for (const auto [cols, outputs] :
       {MatmulSize{128, 33}, MatmulSize{301, 61}, MatmulSize{7, 5}, MatmulSize{2048, 130}}) {
    for (const DType dtype : kWeightTypes) {
      const StoredArray weight(dtype, random_floats(random_, outputs * cols), 3, cols);
      const auto matrix = backend().load_matrix(weight.matrix());
      for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13}) {
        const bool alike = rows == 4 || rows == 6 || rows == 7;  // to a device that is emulated, and slow
        if (rounds_activations(backend(), dtype, rows) || (backend().name() == "cuda" && alike)) {
          continue;
        }
        const auto x = random_floats(random_, rows * cols);
        expect_row_alone_is_same(x, rows, outputs,
                                 [&](auto some, auto out) { backend().matmul(*matrix, some, out); });
        expect_row_alone_is_same(x, rows, outputs,
                                 [&](auto some, auto out) { backend().swiglu(*matrix, *matrix, some, out); });
      }
    }
  }
}

TEST_P(Invariance, MatmulOutputAlone) {
  // An output's number depends neither on where its weights stand in the matrix nor on what follows them.
  constexpr std::int64_t kCols = 301, kOutputs = 29;
  const auto x = random_floats(random_, kCols);
  for (const DType dtype : kWeightTypes) {
    const StoredArray weight(dtype, random_floats(random_, kOutputs * kCols), 0, kCols);
    GuardedOutput together(kOutputs);
    backend().matmul(*backend().load_matrix(weight.matrix()), x, together.span());
    for (std::int64_t o = 0; o < kOutputs; ++o) {
      const MatrixView row{dtype, weight.matrix().row(o), 1, kCols};
      GuardedOutput alone(1);
      backend().matmul(*backend().load_matrix(row), x, alone.span());
      expect_same_bits(alone.span(), together.span().subspan(o, 1));
    }
  }
}

TEST_P(Invariance, RmsNormRowAlone) {
  constexpr std::int64_t kRows = 9, kCols = 131;
  const auto x = random_floats(random_, kRows * kCols, 3.0F);
  const auto weight = random_floats(random_, kCols);
  expect_row_alone_is_same(x, kRows, kCols, [&](auto rows, auto out) {
    backend().rms_norm(as_doubles(rows), weight, 1e-6F, out);
  });
}

TEST_P(Invariance, RotateRowAlone) {
  constexpr std::int64_t kRows = 9, kHeads = 3, kHeadDim = 38;
  const auto x = random_floats(random_, kRows * kHeads * kHeadDim);
  const auto angles = random_floats(random_, kHeadDim);
  std::vector<float> repeated;
  for (int r = 0; r < kRows; ++r) {
    repeated.insert(repeated.end(), angles.begin(), angles.end());
  }
  expect_row_alone_is_same(x, kRows, kHeads * kHeadDim, [&](auto rows, auto out) {
    const auto n_rows = rows.size() / (kHeads * kHeadDim);
    backend().rotate(rows, std::span(repeated).first(n_rows * kHeadDim), kHeadDim, out);
  });
}

TEST_P(Invariance, AttendRowAlone) {
  for (const auto& shape : {AttentionShape{8, 2, 64}, AttentionShape{7, 1, 38}, AttentionShape{3, 3, 16}}) {
    const AttentionCase attention(random_, shape, 9, 90, 1.0F);
    const auto together = attention.attend_all(backend());
    for (int r = 0; r < attention.rows(); ++r) {
      expect_same_bits(attention.attend_row(backend(), r),
                       std::span(together).subspan(r * attention.row_size(), attention.row_size()));
    }
  }
}

TEST(BackendsAgree, SameBitsOnAnyNumberOfThreadsAndInAnyInstructionSet) {
  const auto one = make_plainest_vector_backend();
  if (one == nullptr) {
    GTEST_SKIP() << "this processor can run neither avx2 nor neon";
  }
  const auto expected = outputs_of_all_operations(*one);
  for (const BackendChoice& choice :
       {BackendChoice{"avx2", 2}, BackendChoice{"avx2", 5}, BackendChoice{"avx512", 1},
        BackendChoice{"avx512", 3}, BackendChoice{"avx512vnni", 2}, BackendChoice{"neon", 2},
        BackendChoice{"neondot", 1}, BackendChoice{"neondot", 3}}) {
    const auto backend = make_if_available(choice);
    if (backend == nullptr) {
      continue;
    }
    SCOPED_TRACE(testing::Message() << choice.kind << " on " << choice.n_threads << " threads");
    const auto actual = outputs_of_all_operations(*backend);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "output " << i);
      expect_same_bits(actual[i], expected[i]);
    }
  }
}

// One number for all architectures, so that a session that moves between machines goes on to the bit.
TEST(BackendsAgree, SameBitsOnEveryArchitecture) {
  const auto backend = make_plainest_vector_backend();
  if (backend == nullptr) {
    GTEST_SKIP() << "this processor can run neither avx2 nor neon";
  }
  EXPECT_EQ(digest_of(outputs_of_all_operations(*backend)), 0xe83729649b0b30e8U);
}

}  // namespace condensed::kernels::test
