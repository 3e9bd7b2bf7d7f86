// A step allocates nothing once the backend has seen one of its size.

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/arrays.h"

namespace {
std::atomic<long> n_allocations{0};

void* count_and_allocate(std::size_t bytes, std::size_t alignment) {
  n_allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (void* data = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded)) {
    return data;
  }
  throw std::bad_alloc();
}
}  // namespace

// They replace those of the whole test program. Never inlined: the compiler would warn of free() meeting new.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return count_and_allocate(bytes, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return count_and_allocate(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* data) noexcept {
  std::free(data);
}
[[gnu::noinline]] void operator delete(void* data, std::size_t) noexcept {
  std::free(data);
}
[[gnu::noinline]] void operator delete(void* data, std::align_val_t) noexcept {
  std::free(data);
}
[[gnu::noinline]] void operator delete(void* data, std::size_t, std::align_val_t) noexcept {
  std::free(data);
}

namespace condensed::kernels::test {

TEST(Allocation, SecondStepAllocatesNothing) {
  const auto backend = make_backend("auto", 3);
  if (backend->name() == "reference") {
    GTEST_SKIP() << "the reference allocates";
  }
  Random random(1);
  constexpr int kRows = 5, kDim = 256, kTokens = 300;
  const StoredArray stored(DType::bf16, random_floats(random, 512 * kDim), 1, kDim);
  const auto matrix = backend->load_matrix(stored.matrix());
  const KvRun run{stored.data(), stored.data(), kTokens, kDim / 2, 0, DType::bf16, Frame::stream};
  const std::vector<KvRun> runs(kRows, run);
  const std::vector<std::int32_t> run_begin = {0, 1, 2, 3, 4, 5};
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5};
  const auto angles = random_floats(random, kRows * kDim / 4);
  const auto weight = random_floats(random, kDim);
  std::vector<double> residual(kRows * kDim);
  std::vector<float> x(kRows * kDim);
  std::vector<float> y(kRows * kDim);
  std::vector<float> wide(kRows * 512);
  std::vector<std::byte> slot_bytes(2 * kDim * 2);
  const std::vector<KvSlot> slots(kRows, KvSlot{slot_bytes.data(), slot_bytes.data() + kDim * 2, kDim / 2});
  const auto step = [&] {
    backend->embed(*matrix, tokens, residual);
    backend->rms_norm(residual, weight, 1e-5F, y);
    backend->rotate(y, angles, kDim / 4, y);
    backend->attend({4, 1, kDim / 4}, y, y, runs, run_begin, x);
    backend->store_kv(x, y, 4, kDim / 4, DType::bf16, slots);
    backend->matmul(*matrix, x, wide);
    backend->swiglu(*matrix, *matrix, x, wide);
    return backend->max_abs_difference(x, y);
  };
  step();
  const long before = n_allocations.load();
  step();
  EXPECT_EQ(n_allocations.load(), before);
}

}  // namespace condensed::kernels::test
