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

struct Numbers {
  int counted = 0;
  int read = 0;
};

void count_up(Numbers* numbers) {
  cudaGridDependencySynchronize();
  ++numbers->counted;
}
void read_too_early(Numbers* numbers) {
  const int counted = numbers->counted;
  cudaGridDependencySynchronize();
  numbers->read = counted;
}
void read_in_time(Numbers* numbers) {
  cudaGridDependencySynchronize();
  numbers->read = numbers->counted;
}
void wait_for_nobody(Numbers* /*numbers*/) {}

cudaError_t launch(cudaStream_t stream, void (*kernel)(Numbers*), Numbers* numbers, bool overlaps) {
  cudaLaunchAttribute early{.id = cudaLaunchAttributeProgrammaticStreamSerialization, .val = {1}};
  const cudaLaunchConfig_t config{.stream = stream, .attrs = &early, .numAttrs = overlaps ? 1U : 0U};
  return cudaLaunchKernelEx(&config, kernel, numbers);
}

/// By how much a number that one kernel of a graph counts up is ahead of what the next one reads.
std::set<int> read_across_kernels(void (*reader)(Numbers*), bool overlaps) {
  const auto stream = kernels::cuda::make_stream();
  const auto memory = kernels::cuda::allocate_device(sizeof(Numbers));
  auto* numbers = reinterpret_cast<Numbers*>(memory.get());
  cudaMemsetAsync(numbers, 0, sizeof(Numbers), stream.get());
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal);
  EXPECT_EQ(launch(stream.get(), count_up, numbers, false), cudaSuccess);
  EXPECT_EQ(launch(stream.get(), reader, numbers, overlaps), cudaSuccess);
  cudaStreamEndCapture(stream.get(), &graph);
  cudaGraphInstantiate(&exec, graph, 0);
  std::set<int> seen;
  for (int i = 0; i < 40; ++i) {
    Numbers now;
    cudaGraphLaunch(exec, stream.get());
    cudaMemcpyAsync(&now, numbers, sizeof(now), cudaMemcpyDeviceToHost, stream.get());
    cudaStreamSynchronize(stream.get());
    seen.insert(now.counted - now.read);
  }
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  return seen;
}

TEST(Emulation, WhatIsReadBeforeTheKernelBeforeHasEndedIsOld) {
  EXPECT_EQ(read_across_kernels(read_too_early, true), (std::set<int>{0, 1}));
  EXPECT_EQ(read_across_kernels(read_too_early, false), std::set<int>{0});
  EXPECT_EQ(read_across_kernels(read_in_time, true), std::set<int>{0});
}

TEST(Emulation, OnlyKernelsOverlapWithKernels) {
  const auto stream = kernels::cuda::make_stream();
  const auto memory = kernels::cuda::allocate_device(sizeof(Numbers));
  auto* numbers = reinterpret_cast<Numbers*>(memory.get());
  EXPECT_EQ(launch(stream.get(), count_up, numbers, true), cudaErrorInvalidValue);
  cudaMemsetAsync(numbers, 0, sizeof(Numbers), stream.get());
  EXPECT_EQ(launch(stream.get(), count_up, numbers, true), cudaErrorInvalidValue);
  EXPECT_EQ(launch(stream.get(), count_up, numbers, false), cudaSuccess);
  EXPECT_EQ(launch(stream.get(), count_up, numbers, true), cudaSuccess);
  cudaStreamSynchronize(stream.get());
}

TEST(EmulationDeathTest, EveryThreadMustWaitForTheKernelsBefore) {
  const auto stream = kernels::cuda::make_stream();
  EXPECT_DEATH(launch(stream.get(), wait_for_nobody, nullptr, false), "had not waited");
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
