#pragma once

#include "kernels/cuda/weight_fragments.cuh"

/// Everything that is neither a product nor attention.
namespace condensed::kernels::cuda {

constexpr int kRowThreads = 256;

/// Where a loop over all elements begins and how far it strides, whatever the grid.
__device__ inline std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t element_stride() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

/// grid: rows. Sums in float64.
static __global__ void __launch_bounds__(kRowThreads) rms_norm(RmsNormArguments arguments) {
  take_turn();
  const std::int64_t row = blockIdx.x;
  if (row >= value_of(arguments.count)) {
    return;
  }
  const double* x = arguments.x + row * arguments.cols;
  double squares = 0;
  for (int c = static_cast<int>(threadIdx.x); c < arguments.cols; c += kRowThreads) {
    squares = fma(x[c], x[c], squares);
  }
  squares = warp_sum(squares);
  auto* shared = reinterpret_cast<double*>(dynamic_shared_bytes);
  if (lane_index() == 0) {
    shared[warp_index()] = squares;
  }
  __syncthreads();
  double total = 0;
  for (int w = 0; w < kRowThreads / kWarp; ++w) {
    total += shared[w];
  }
  const double scale = 1.0 / sqrt(total / arguments.cols + static_cast<double>(arguments.epsilon));
  float* out = arguments.out + row * arguments.cols;
  for (int c = static_cast<int>(threadIdx.x); c < arguments.cols; c += kRowThreads) {
    out[c] = static_cast<float>(x[c] * scale * static_cast<double>(arguments.weight[c]));
  }
}

/// A thread turns one pair; x and out may be the same. grid: [rows, ..]
static __global__ void __launch_bounds__(kRowThreads) rotate(RotateArguments arguments) {
  take_turn();
  const std::int64_t row = blockIdx.x;
  const int pair = static_cast<int>(blockIdx.y) * kRowThreads + static_cast<int>(threadIdx.x);
  const int half = arguments.head_dim / 2;
  if (row >= value_of(arguments.count) || pair >= arguments.row_size / 2) {
    return;
  }
  const int d = pair % half;
  const std::int64_t at =
      row * arguments.row_size + static_cast<std::int64_t>(pair / half) * arguments.head_dim + d;
  const float* angles = arguments.angles + row * arguments.head_dim;
  const Turned pair_turned = turned(arguments.x[at], arguments.x[at + half], angles, half, d);
  arguments.out[at] = pair_turned.low;
  arguments.out[at + half] = pair_turned.high;
}

__device__ inline float number_of(DType dtype, const Planes& table, std::int64_t row, int col) {
  switch (dtype) {
    case DType::f32:
      return number_at<DType::f32>(table, row, col);
    case DType::bf16:
      return number_at<DType::bf16>(table, row, col);
    case DType::f16:
      return number_at<DType::f16>(table, row, col);
    case DType::q8:
      return number_at<DType::q8>(table, row, col);
    case DType::q4:
      return number_at<DType::q4>(table, row, col);
  }
  return 0;
}

/// grid: [rows, ..]
static __global__ void __launch_bounds__(kRowThreads) embed(EmbedArguments arguments) {
  take_turn();
  const std::int64_t row = blockIdx.x;
  const int col = static_cast<int>(blockIdx.y) * kRowThreads + static_cast<int>(threadIdx.x);
  if (row >= value_of(arguments.count) || col >= arguments.table.cols) {
    return;
  }
  arguments.out[row * arguments.table.cols + col] =
      number_of(arguments.dtype, arguments.table, arguments.tokens[row], col);
}

static __global__ void __launch_bounds__(kRowThreads) copy_words(CopyArguments arguments) {
  take_turn();
  const std::int64_t n = value_of(arguments.count);
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    arguments.to[i] = arguments.from[i];
  }
}

static __global__ void __launch_bounds__(kRowThreads) fill_zero(FillZeroArguments arguments) {
  take_turn();
  const std::int64_t n = value_of(arguments.count);
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    arguments.to[i] = 0;
  }
}

static __global__ void __launch_bounds__(kRowThreads) gate_products(GateArguments arguments) {
  take_turn();
  const std::int64_t n = value_of(arguments.count);
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    arguments.out[i] = gated(arguments.gate[i], arguments.up[i]);
  }
}

/// The maximum does not depend on who comes first: floats that are not negative are ordered like their bits.
static __global__ void __launch_bounds__(kRowThreads) largest_difference(DifferenceArguments arguments) {
  take_turn();
  constexpr unsigned kInfinity = 0x7f800000U;
  const std::int64_t n = value_of(arguments.count);
  unsigned largest = 0;
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    unsigned bits = __float_as_uint(arguments.a[i] - arguments.b[i]) & 0x7fffffffU;
    bits = bits > kInfinity ? kInfinity : bits;
    largest = bits > largest ? bits : largest;
  }
  largest = warp_max(largest);
  if (lane_index() == 0 && largest > 0) {
    atomicMax(arguments.largest, largest);
  }
}

/// To the nearest integer, as kernels/stored_row.cpp does it.
__device__ inline float rounded(float value) {
  constexpr float kShift = 12582912.0F;  // 1.5 · 2^23
  return __fadd_rn(__fadd_rn(value, kShift), -kShift);
}

/// A number wherever it stands.
template <typename Bits>
__device__ void store_bits(std::byte* at, Bits bits) {
  if (reinterpret_cast<std::uintptr_t>(at) % sizeof(Bits) == 0) {
    *reinterpret_cast<Bits*>(at) = bits;
    return;
  }
#pragma unroll
  for (std::size_t i = 0; i < sizeof(Bits); ++i) {
    at[i] = static_cast<std::byte>(bits >> (8 * i) & 0xffU);
  }
}

/// One head of one token as q8; n numbers, by one warp.
__device__ inline void store_q8_head(const float* numbers, int n, std::byte* out) {
  constexpr float kLimit = 127;
  constexpr float kLargestScale = 65504;
  const int group = static_cast<int>(kQ8Group);
  for (int first = 0; first < n; first += group) {
    const int end = first + group < n ? first + group : n;
    float largest = 0;
    for (int d = first + lane_index(); d < end; d += kWarp) {
      largest = fmaxf(largest, fabsf(numbers[d]));  // NaN: the other one
    }
    largest = warp_max(largest);
    const float wanted = __fdiv_rn(largest, kLimit);
    const unsigned short scale_bits =
        __half_as_ushort(__float2half_rn(wanted < kLargestScale ? wanted : kLargestScale));
    const float scale = f16_bits_to_float(scale_bits);
    const float inverse = scale == 0 ? 0.0F : __fdiv_rn(1.0F, scale);
    for (int d = first + lane_index(); d < end; d += kWarp) {
      const float scaled = __fmul_rn(numbers[d], inverse);
      const float low = -kLimit < scaled ? scaled : -kLimit;  // NaN: the limit
      const float limited = low < kLimit ? low : kLimit;
      out[d] = static_cast<std::byte>(static_cast<std::int8_t>(rounded(limited)));
    }
    if (lane_index() == 0) {
      store_bits<std::uint16_t>(out + n + 2 * (first / group), scale_bits);
    }
  }
}

__device__ inline void store_head(DType dtype, const float* numbers, int n, std::byte* out) {
  if (dtype == DType::q8) {
    store_q8_head(numbers, n, out);
    return;
  }
  for (int d = lane_index(); d < n; d += kWarp) {
    const float value = numbers[d];
    if (dtype == DType::f32) {
      store_bits<std::uint32_t>(out + 4 * d, __float_as_uint(value));
    } else if (dtype == DType::bf16) {
      store_bits<std::uint16_t>(out + 2 * d, __bfloat16_as_ushort(__float2bfloat16_rn(value)));
    } else {
      store_bits<std::uint16_t>(out + 2 * d, __half_as_ushort(__float2half_rn(value)));
    }
  }
}

/// A warp stores one head's key and value of one token. grid: [slots, heads / 8]
static __global__ void __launch_bounds__(kRowThreads) store_kv(StoreKvArguments arguments) {
  take_turn();
  const int head = static_cast<int>(blockIdx.y) * (kRowThreads / kWarp) + warp_index();
  if (blockIdx.x >= value_of(arguments.count) || head >= arguments.n_kv_heads) {
    return;
  }
  const StoredSlot slot = arguments.slots[blockIdx.x];
  const std::int64_t from =
      (static_cast<std::int64_t>(slot.row) * arguments.n_kv_heads + head) * arguments.head_dim;
  const std::int64_t to = static_cast<std::int64_t>(head) * slot.head_stride_bytes;
  store_head(arguments.dtype, arguments.keys + from, arguments.head_dim, slot.keys + to);
  store_head(arguments.dtype, arguments.values + from, arguments.head_dim, slot.values + to);
}

}  // namespace condensed::kernels::cuda
