#pragma once

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the names are CUDA's.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

#include "tests/kernels/cuda_emulation/block_runner.h"

/// What our kernels and their host code use of CUDA's header of this name, on the host: the same source
/// compiles against either. Device memory is the host's; streams run at once, but for one that is captured.

// ---- The language ----

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __shared__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

using dim3 = condensed::emulation::Dim3;
struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline const dim3& threadIdx = condensed::emulation::place.thread;
inline const dim3& blockIdx = condensed::emulation::place.block;
inline const dim3& blockDim = condensed::emulation::place.block_dim;
inline const dim3& gridDim = condensed::emulation::place.grid_dim;

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  condensed::emulation::block_barrier(at.line());
}
template <typename T>
T __shfl_sync(unsigned /*mask*/, T value, int lane,
              std::source_location at = std::source_location::current()) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::copy_n(reinterpret_cast<const std::byte*>(&value), sizeof(T), reinterpret_cast<std::byte*>(&bits));
  bits = condensed::emulation::exchange(bits, static_cast<unsigned>(lane), at.line());
  std::copy_n(reinterpret_cast<const std::byte*>(&bits), sizeof(T), reinterpret_cast<std::byte*>(&value));
  return value;
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes,
                  std::source_location at = std::source_location::current()) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % condensed::emulation::kWarpSize) ^ lanes,
                     at);
}

inline void cudaTriggerProgrammaticLaunchCompletion() {}
inline void cudaGridDependencySynchronize(std::source_location at = std::source_location::current()) {
  condensed::emulation::await_previous(at.line());
}

inline unsigned atomicMax(unsigned* at, unsigned value) {
  const unsigned before = *at;
  *at = std::max(before, value);
  return before;
}

template <typename T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}
inline void __threadfence() {}
template <typename T>
T __ldcg(const T* at) {
  return *at;
}

/// An address that the device would fault on must not pass here.
template <typename T>
T __ldcs(const T* at) {
  if (reinterpret_cast<std::uintptr_t>(at) % alignof(T) != 0) {
    __builtin_trap();
  }
  return *at;
}

inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}

// ---- The library ----

#include "tests/kernels/cuda_emulation/runtime_calls.h"

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
