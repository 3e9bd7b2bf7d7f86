// Memory, copies and comparisons, on every backend, against values worked out here.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/arrays.h"

namespace condensed::kernels::test {

namespace {
class MemoryOperations : public BackendTest {};
INSTANTIATE_TEST_SUITE_P(Backends, MemoryOperations, all_backends(), name_of_choice);
}  // namespace

TEST_P(MemoryOperations, AllocatesZeroedAndAligned) {
  for (const std::size_t bytes : {1U, 63U, 4096U, 100001U}) {
    const Memory memory = backend().allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % 64, 0U);
    for (std::size_t i = 0; i < bytes; ++i) {
      ASSERT_EQ(memory[i], std::byte{0});
    }
  }
}

TEST_P(MemoryOperations, CopiesThereAndBack) {
  const std::vector<float> from = {1, 2, 3, -4, 5};
  std::vector<float> device(5);
  std::vector<float> moved(5);
  std::vector<float> back(5);
  backend().upload(std::as_bytes(std::span(from)), std::as_writable_bytes(std::span(device)));
  backend().copy(device, moved);
  backend().download(std::as_bytes(std::span(moved)), std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, from);
  backend().fill_zero(std::span(moved).subspan(1, 3));
  EXPECT_EQ(moved, (std::vector<float>{1, 0, 0, 0, 5}));
}

TEST_P(MemoryOperations, MatrixKnowsItsSize) {
  const StoredArray stored(DType::bf16, std::vector<float>(15), 1, 5);
  const auto matrix = backend().load_matrix(stored.matrix());
  EXPECT_EQ(matrix->rows(), 3);
  EXPECT_EQ(matrix->cols(), 5);
  EXPECT_EQ(matrix->bytes(), 30U);
  const StoredArray narrow(DType::q4, std::vector<float>(2 * 130), 1, 130);
  EXPECT_EQ(backend().load_matrix(narrow.matrix())->bytes(), 2U * (2 * 64 + 5 + 2));
}

TEST_P(MemoryOperations, StoresKeysAndValuesInTheirSlots) {
  // Two tokens, two heads of two elements; between heads a gap.
  const std::vector<float> keys = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<float> values = {-1, -2, -3, -4, -5, -6, -7, -1.0F / 3};
  for (const DType dtype : kCacheTypes) {
    const auto row = static_cast<std::size_t>(row_bytes(dtype, 2));
    const std::size_t stride = row + 3;
    constexpr std::byte kUntouched{77};
    std::vector<std::byte> key_bytes(4 * stride, kUntouched);
    std::vector<std::byte> value_bytes(4 * stride, kUntouched);
    const auto slot = [&](std::size_t first, std::int32_t token) {
      return KvSlot{key_bytes.data() + first * stride, value_bytes.data() + first * stride,
                    static_cast<std::int32_t>(stride), token};
    };
    backend().store_kv(keys, values, 2, 2, dtype, std::vector<KvSlot>{slot(0, 1), slot(2, 0)});

    const std::size_t head_at[] = {2, 3, 0, 1};  // of token 0's heads, then token 1's
    for (std::size_t i = 0; i < 4; ++i) {
      const auto expect_stored = [&](const std::vector<std::byte>& bytes, std::span<const float> numbers) {
        std::vector<std::byte> expected(row);
        store_row(dtype, numbers, expected.data());
        expected.insert(expected.end(), 3, kUntouched);
        const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(head_at[i] * stride);
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(), at)) << name_of(dtype) << " head " << i;
      };
      expect_stored(key_bytes, std::span(keys).subspan(2 * i, 2));
      expect_stored(value_bytes, std::span(values).subspan(2 * i, 2));
    }
  }
}

TEST_P(MemoryOperations, LargestDifference) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto difference = [&](std::vector<float> a, std::vector<float> b) {
    return backend().max_abs_difference(a, b);
  };
  EXPECT_EQ(difference({}, {}), 0.0F);
  EXPECT_EQ(difference({1, 2, 3}, {1, 2, 3}), 0.0F);
  EXPECT_EQ(difference({1, 2, -3}, {2, 2, 3}), 6.0F);
  EXPECT_EQ(difference({-5, 2}, {1, 2}), 6.0F);
  EXPECT_EQ(difference({std::nanf(""), 2, 3}, {1, 2, 4}), kInfinity);
  EXPECT_EQ(difference({1, 2, std::nanf("")}, {1, 9, std::nanf("")}), kInfinity);
  EXPECT_EQ(difference({kInfinity, 0}, {kInfinity, 0}), kInfinity);  // their difference is NaN
}

}  // namespace condensed::kernels::test
