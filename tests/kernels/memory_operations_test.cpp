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
  backend().upload(from, device);
  backend().copy(device, moved);
  backend().download(moved, back);
  EXPECT_EQ(back, from);
  backend().fill_zero(std::span(moved).subspan(1, 3));
  EXPECT_EQ(moved, (std::vector<float>{1, 0, 0, 0, 5}));
}

TEST_P(MemoryOperations, MatrixKnowsItsSize) {
  const StoredArray stored(DType::bf16, std::vector<float>(15), 1);
  const auto matrix = backend().load_matrix(stored.matrix(3, 5));
  EXPECT_EQ(matrix->rows(), 3);
  EXPECT_EQ(matrix->cols(), 5);
  EXPECT_EQ(matrix->bytes(), 30U);
}

TEST_P(MemoryOperations, StoresKeysAndValuesInTheirSlots) {
  // Two tokens, two heads of two elements; heads lie three elements apart.
  const std::vector<float> keys = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<float> values = {-1, -2, -3, -4, -5, -6, -7, -1.0F / 3};
  for (const DType dtype : kDTypes) {
    std::vector<float> zeros(12);
    const StoredArray blank(dtype, zeros, 0);
    std::vector<std::byte> bytes(blank.data(), blank.data() + 12 * bytes_of(dtype));
    std::vector<std::byte> value_bytes = bytes;
    const auto slot = [&](int first) {
      const std::size_t at = first * bytes_of(dtype);
      return KvSlot{bytes.data() + at, value_bytes.data() + at, 3};
    };
    const std::vector<KvSlot> slots = {slot(6), slot(0)};
    backend().store_kv(keys, values, 2, dtype, slots);

    const std::vector<float> expected_keys = {5, 6, 0, 7, 8, 0, 1, 2, 0, 3, 4, 0};
    for (int i = 0; i < 12; ++i) {
      EXPECT_EQ(load_element(dtype, bytes.data(), i), expected_keys[i]) << name_of(dtype) << " element " << i;
    }
    EXPECT_EQ(load_element(dtype, value_bytes.data(), 6), -1.0F);
    const float third = dtype == DType::f32 ? -1.0F / 3 : dtype == DType::bf16 ? -0x1.56p-2F : -0x1.554p-2F;
    EXPECT_EQ(load_element(dtype, value_bytes.data(), 4), third);
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
