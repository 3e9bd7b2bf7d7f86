// The emulation itself: that it sees what it is there to see.

#include <cuda_runtime.h>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/device_memory.h"
#include "tests/cuda/device_stream.h"

namespace condensed::kernels::cuda {
extern unsigned char dynamic_shared_bytes[];
}  // namespace condensed::kernels::cuda

namespace condensed::emulation {
namespace {

constexpr Dim3 kBlock{.x = 64};

/// What the last thread reads of the first one's number, over many launches.
std::set<int> read_across_threads(bool barrier) {
  std::set<int> seen;
  for (int launch = 0; launch < 40; ++launch) {
    int number = 0;
    int read = -1;
    run_grid({}, kBlock, 0, [&] {
      if (threadIdx.x == 0) {
        number = 1;
      }
      if (barrier) {
        __syncthreads();
      }
      if (threadIdx.x == 63) {
        read = number;
      }
    });
    seen.insert(read);
  }
  return seen;
}

TEST(Emulation, AMissingBarrierShows) {
  EXPECT_EQ(read_across_threads(true), std::set<int>{1});
  EXPECT_EQ(read_across_threads(false), (std::set<int>{0, 1}));
}

TEST(Emulation, LanesExchangeNumbers) {
  std::vector<float> sums(64);
  run_grid({}, kBlock, 0, [&] {
    auto sum = static_cast<float>(threadIdx.x);
    for (int step = 16; step > 0; step /= 2) {
      sum += __shfl_xor_sync(0xffffffffU, sum, step);
    }
    sums[threadIdx.x] = sum;
  });
  for (unsigned t = 0; t < 64; ++t) {
    EXPECT_EQ(sums[t], t < 32 ? 496 : 1520);
  }
}

// Not in the macro, which would make one line of them.
void meet_at_two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

void leave_before_the_barrier() {
  if (threadIdx.x != 5) {
    __syncthreads();
  }
}

TEST(EmulationDeathTest, ThreadsMustMeetAtTheSameBarrier) {
  EXPECT_DEATH(run_grid({}, kBlock, 0, meet_at_two_barriers), "different barriers");
  EXPECT_DEATH(run_grid({}, kBlock, 0, leave_before_the_barrier), "while others wait");
}

TEST(EmulationDeathTest, SharedMemoryEnds) {
  EXPECT_DEATH(
      run_grid({}, kBlock, 64, [] { kernels::cuda::dynamic_shared_bytes[64 + threadIdx.x % 8] = 1; }),
      "past its end");
}

TEST(EmulationDeathTest, TheHostMustNotTouchDeviceMemory) {
  ASSERT_TRUE(engine::test::kMemoryIsProtected);
  const auto memory = kernels::cuda::allocate_device(4096);
  const auto stream = kernels::cuda::make_stream();
  cudaStreamSynchronize(stream.get());
  EXPECT_DEATH(memory[7] = std::byte{1}, "");
}

}  // namespace
}  // namespace condensed::emulation
