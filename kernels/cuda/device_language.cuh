#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/kernel_arguments.h"

/// What all kernels speak of. Nothing here may fuse a product into a sum unless it says so: kernels are
/// compiled with -fmad=false, so that every instance of a template rounds alike.
namespace condensed::kernels::cuda {

constexpr unsigned kAllLanes = 0xffffffffU;

__device__ inline std::int64_t value_of(const Count& count) {
  return count.at != nullptr ? *count.at : count.known;
}

extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];

__device__ inline int lane_index() {
  return static_cast<int>(threadIdx.x) % kWarp;
}
__device__ inline int warp_index() {
  return static_cast<int>(threadIdx.x) / kWarp;
}

__device__ inline float bf16_bits_to_float(std::uint32_t bits) {
  return __uint_as_float(bits << 16);
}
__device__ inline float f16_bits_to_float(std::uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
__device__ inline float signed_byte(std::uint32_t word, int index) {
  return static_cast<float>(static_cast<std::int8_t>(word >> (8 * index) & 0xffU));
}
/// A nibble in two's complement.
__device__ inline float signed_nibble(std::uint32_t nibble) {
  return static_cast<float>(static_cast<int>((nibble & 15U) ^ 8U) - 8);
}
/// Two bytes wherever they stand.
__device__ inline std::uint32_t load_u16(const std::byte* at) {
  return *reinterpret_cast<const std::uint16_t*>(at);
}

// A kernel of a step may begin before the one before it has ended (Command::overlaps). Every thread of every
// kernel calls let_next_begin(), then await_previous(), and between the two it reads nothing but weights,
// which no kernel writes, writes nothing, and does not leave. That all wait, also blocks that have nothing to
// do, is what makes one wait enough: the previous kernel has ended only when its own wait had returned, so
// all that ran before it is done, too. Kernels that are not launched so, and devices before 9.0, do not wait.

/// The next kernel's blocks may come once all of this one's have said so, or left: they fill what room is
/// left.
__device__ inline void let_next_begin() {
#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}
/// Returns when every earlier kernel has ended and what it wrote can be read.
__device__ inline void await_previous() {
#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
  cudaGridDependencySynchronize();
#endif
}
/// For kernels that can do nothing before.
__device__ inline void take_turn() {
  let_next_begin();
  await_previous();
}

/// The sum over the lanes, in an order that does not depend on which lane asks.
template <typename T>
__device__ T warp_sum(T value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

/// kCount sums over the lanes at once: half of them change hands at every step, so that 32 take 31 exchanges
/// and not 160. Lane l gets sum l / (kWarp / kCount), its terms in the order of warp_sum(). kCount: a power
/// of two up to 32.
template <int kCount, int kStep = kWarp / 2, typename T>
__device__ T warp_sums(const T (&values)[kCount]) {
  if constexpr (kStep == 0) {
    return values[0];
  } else if constexpr (kCount == 1) {
    const T sum[1] = {values[0] + __shfl_xor_sync(kAllLanes, values[0], kStep)};
    return warp_sums<1, kStep / 2>(sum);
  } else {
    const bool upper = (lane_index() & kStep) != 0;
    T half[kCount / 2];
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      const T kept = upper ? values[i + kCount / 2] : values[i];
      const T given = upper ? values[i] : values[i + kCount / 2];
      half[i] = kept + __shfl_xor_sync(kAllLanes, given, kStep);
    }
    return warp_sums<kCount / 2, kStep / 2>(half);
  }
}

template <typename T>
__device__ T warp_max(T value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

/// A pair of numbers, half a head apart, turned by the d-th of a head's angles.
struct Turned {
  float low;
  float high;
};
__device__ inline Turned turned(float low, float high, const float* angles, int half, int d) {
  const double cosine = angles[d];
  const double sine = angles[half + d];
  return {static_cast<float>(low * cosine - high * sine), static_cast<float>(high * cosine + low * sine)};
}

/// g · sigmoid(g) · u
__device__ inline float gated(double g, double u) {
  return static_cast<float>(g / (1.0 + exp(-g)) * u);
}

}  // namespace condensed::kernels::cuda
