#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/make_backend.h"
#include "kernels/stored_row.h"
#ifdef CONDENSED_EMULATED_CUDA
#include "tests/kernels/cuda_emulation/emulated_backend.h"
#endif

/// What the kernels' tests feed to a backend, and how they look at what comes back.
namespace condensed::kernels::test {

using Random = std::mt19937;

/// Half the distance from 1 to the next float: the relative error of one rounding.
constexpr double kRounding = 0x1p-24;

inline int draw(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

inline std::vector<float> random_floats(Random& random, std::int64_t n, float limit = 1.0F) {
  std::uniform_real_distribution<float> uniform(-limit, limit);
  std::vector<float> x(static_cast<std::size_t>(n));
  std::ranges::generate(x, [&] { return uniform(random); });
  return x;
}

/// Stored rows of `cols` numbers that begin `offset` bytes into a block and end where it ends, so that an
/// address sanitizer sees a read past the last one.
class StoredArray {
 public:
  StoredArray(DType dtype, std::span<const float> values, std::size_t offset, std::int64_t cols)
      : dtype_(dtype), cols_(cols), offset_(offset) {
    const std::int64_t rows = std::ssize(values) / cols;
    bytes_.resize(offset + static_cast<std::size_t>(rows * row_bytes(dtype, cols)));
    for (std::int64_t r = 0; r < rows; ++r) {
      store_row(dtype, values.subspan(r * cols, cols), bytes_.data() + offset + r * row_bytes(dtype, cols));
    }
  }

  DType dtype() const { return dtype_; }
  const std::byte* data() const { return bytes_.data() + offset_; }
  MatrixView matrix() const {
    const std::int64_t bytes = std::ssize(bytes_) - static_cast<std::int64_t>(offset_);
    return {dtype_, data(), bytes / row_bytes(dtype_, cols_), cols_};
  }
  std::vector<float> row(std::int64_t r) const {
    std::vector<float> out(static_cast<std::size_t>(cols_));
    load_row(dtype_, matrix().row(r), out);
    return out;
  }

 private:
  DType dtype_;
  std::int64_t cols_;
  std::size_t offset_;
  std::vector<std::byte> bytes_;
};

/// Room for n numbers between two guards that nothing may write to.
template <typename T = float>
class GuardedOutput {
 public:
  explicit GuardedOutput(std::int64_t n) : GuardedOutput(std::vector<T>(static_cast<std::size_t>(n))) {}
  explicit GuardedOutput(std::span<const T> initial) : numbers_(initial.size() + 2 * kGuard, kSentinel) {
    std::ranges::copy(initial, numbers_.begin() + kGuard);
  }
  ~GuardedOutput() {
    for (std::size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(numbers_[i], kSentinel) << "written before the output";
      EXPECT_EQ(numbers_[numbers_.size() - 1 - i], kSentinel) << "written after the output";
    }
  }
  GuardedOutput(const GuardedOutput&) = delete;
  GuardedOutput& operator=(const GuardedOutput&) = delete;

  std::span<T> span() { return std::span(numbers_).subspan(kGuard, numbers_.size() - 2 * kGuard); }

 private:
  static constexpr std::size_t kGuard = 9;
  static constexpr T kSentinel = 12345;
  std::vector<T> numbers_;
};
template <typename T>
GuardedOutput(const std::vector<T>&) -> GuardedOutput<T>;

inline std::vector<double> as_doubles(std::span<const float> x) {
  return {x.begin(), x.end()};
}

/// |actual - expected| <= tolerance, and neither is NaN.
inline void expect_within(double actual, double expected, double tolerance) {
  EXPECT_LE(std::abs(actual - expected), tolerance) << actual << " instead of " << expected;
}

/// Bit for bit, so that NaN equals itself and 0 does not equal -0.
inline void expect_same_bits(std::span<const float> actual, std::span<const float> expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(actual[i]), std::bit_cast<std::uint32_t>(expected[i]))
        << "element " << i << ": " << actual[i] << " instead of " << expected[i];
  }
}

struct BackendChoice {
  std::string kind;
  int n_threads = 1;
};

/// Null where this processor cannot run it, or this program was built without it.
inline std::unique_ptr<Backend> make_if_available(const BackendChoice& choice) {
#ifdef CONDENSED_EMULATED_CUDA
  if (choice.kind == "emulated_cuda") {
    return emulation::make_emulated_backend();
  }
#endif
  try {
    return make_backend(choice.kind, choice.n_threads);
  } catch (const std::invalid_argument&) {
    return nullptr;
  }
}

inline std::string name_of_choice(const testing::TestParamInfo<BackendChoice>& choice) {
  return choice.param.kind + "_" + std::to_string(choice.param.n_threads);
}

/// A fixture with the backend of the parameter; skips where this processor cannot run it.
class BackendTest : public testing::TestWithParam<BackendChoice> {
 protected:
  void SetUp() override {
    backend_ = make_if_available(GetParam());
    if (backend_ == nullptr) {
      GTEST_SKIP() << "this processor cannot run " << GetParam().kind;
    }
  }

  Backend& backend() { return *backend_; }

 private:
  std::unique_ptr<Backend> backend_;
};

inline auto all_backends() {
  return testing::Values(BackendChoice{"reference", 1}, BackendChoice{"avx2", 1}, BackendChoice{"avx2", 3},
                         BackendChoice{"avx512", 1}, BackendChoice{"avx512", 3},
                         BackendChoice{"avx512vnni", 1}, BackendChoice{"avx512vnni", 3},
                         BackendChoice{"neon", 1}, BackendChoice{"neon", 3}, BackendChoice{"neondot", 1},
                         BackendChoice{"neondot", 3}, BackendChoice{"emulated_cuda", 1});
}

/// Whether a product of that many rows is one for cuBLAS, which takes activations of 16 bits and sums as it
/// sees fit (docs/cuda.md).
inline bool rounds_activations(const Backend& backend, DType weight, std::int64_t rows) {
  return backend.name() == "cuda" && weight != DType::f32 && rows > 8;
}

constexpr DType kWeightTypes[] = {DType::f32, DType::bf16, DType::f16, DType::q8, DType::q4};
constexpr DType kCacheTypes[] = {DType::f32, DType::bf16, DType::f16, DType::q8};

}  // namespace condensed::kernels::test
