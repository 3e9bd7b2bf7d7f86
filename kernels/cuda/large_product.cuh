#pragma once

#include "kernels/cuda/weight_fragments.cuh"

/// What stands before and after the library's products of large matrices.
namespace condensed::kernels::cuda {

constexpr int kLargeThreads = 256;

/// The largest magnitude that the block's threads bring, NaN as infinity. shared: [8].
__device__ inline float block_largest(float largest, float* shared) {
  unsigned bits = __float_as_uint(largest);  // ordered like the numbers, NaN above infinity
  bits = warp_max(bits);
  if (lane_index() == 0) {
    shared[warp_index()] = __uint_as_float(bits);
  }
  __syncthreads();
  unsigned all = 0;
  for (int w = 0; w < kLargeThreads / kWarp; ++w) {
    const unsigned other = __float_as_uint(shared[w]);
    all = other > all ? other : all;
  }
  return __uint_as_float(all);
}

template <DType kType>
__device__ std::uint16_t rounded_bits(float value) {
  return kType == DType::bf16 ? __bfloat16_as_ushort(__float2bfloat16_rn(value))
                              : __half_as_ushort(__float2half_rn(value));
}

/// A row's numbers times a power of two that brings the largest near 2^13: far from where f16 ends, and small
/// ones stay exact. grid: rows. bf16 needs none.
template <DType kType>
__global__ void __launch_bounds__(kLargeThreads) convert_activations(ActivationsArguments arguments) {
  take_turn();
  const std::int64_t row = blockIdx.x;
  std::uint16_t* out = arguments.out + row * arguments.padded_cols;
  const int cols =
      row < value_of(arguments.count) ? arguments.cols : 0;  // rows that only fill the grid: zeros
  const float* x = arguments.x + (cols > 0 ? row * arguments.cols : 0);
  float scale = 1;
  float factor = 1;
  if constexpr (kType == DType::f16) {
    float largest = 0;
    for (int k = static_cast<int>(threadIdx.x); k < cols; k += kLargeThreads) {
      const unsigned magnitude = __float_as_uint(x[k]) & 0x7fffffffU;
      const unsigned before = __float_as_uint(largest);
      largest = __uint_as_float(magnitude > before ? magnitude : before);
    }
    largest = block_largest(largest, reinterpret_cast<float*>(dynamic_shared_bytes));
    const int exponent =
        static_cast<int>(__float_as_uint(largest) >> 23);  // 0: zero or next to it; 255: not finite
    if (exponent > 13 && exponent < 255) {
      // 2^(140 - exponent) and its inverse, both normal numbers.
      const int shifted = 127 + 140 - exponent;
      scale = __uint_as_float(static_cast<unsigned>(shifted) << 23);
      factor = __uint_as_float(static_cast<unsigned>(254 - shifted) << 23);
    }
  }
  std::uint16_t* low = arguments.low == nullptr ? nullptr : arguments.low + row * arguments.padded_cols;
  for (int k = static_cast<int>(threadIdx.x); k < arguments.padded_cols; k += kLargeThreads) {
    const float value = k < cols ? x[k] * scale : 0.0F;
    const std::uint16_t bits = rounded_bits<kType>(value);
    out[k] = bits;
    if (low != nullptr) {
      const float lost = value - (kType == DType::bf16 ? bf16_bits_to_float(bits) : f16_bits_to_float(bits));
      low[k] = rounded_bits<kType>(lost == lost ? lost : 0.0F);  // infinity less itself; out has it
    }
  }
  if (threadIdx.x == 0) {
    arguments.factors[row] = factor;
  }
}

/// grid: [rows of this piece]
template <DType kType>
__global__ void __launch_bounds__(kLargeThreads) dequantise(DequantiseArguments arguments) {
  take_turn();
  using Of = Fragment<kType>;
  constexpr float kLargest = 65504;
  const std::int64_t row = arguments.first + static_cast<std::int64_t>(blockIdx.x);
  const WeightRow weights = weight_row(arguments.matrix, row);
  std::uint16_t* out = arguments.out + static_cast<std::int64_t>(blockIdx.x) * arguments.padded_cols;
  for (int unit = static_cast<int>(threadIdx.x); unit < Of::units(arguments.matrix.cols);
       unit += kLargeThreads) {
    Of fragment;
    fragment.load(weights, unit);
#pragma unroll
    for (int p = 0; p < Of::kPieces; ++p) {
      float numbers[kPiece];
      fragment.piece(p, numbers);
      const int first = Of::first(unit, p);
#pragma unroll
      for (int i = 0; i < kPiece; ++i) {
        if (first + i < arguments.padded_cols) {
          const float value = numbers[i] * fragment.multiplier(p);
          const float limited = value > kLargest ? kLargest : value < -kLargest ? -kLargest : value;
          out[first + i] = __half_as_ushort(__float2half_rn(limited));
        }
      }
    }
  }
}

/// grid: [n_outputs / kLargeThreads, rows]
static __global__ void __launch_bounds__(kLargeThreads) finish_product(FinishArguments arguments) {
  take_turn();
  const std::int64_t row = blockIdx.y;
  const int o = static_cast<int>(blockIdx.x) * kLargeThreads + static_cast<int>(threadIdx.x);
  if (row >= value_of(arguments.count) || o >= arguments.n_outputs) {
    return;
  }
  const std::int64_t from = row * arguments.n_outputs + o;
  const std::int64_t to = row * arguments.out_cols + arguments.first_output + o;
  const double factor = arguments.factors[row];
  const auto total = [&](const float* products) {
    const double low =
        arguments.low_offset == 0 ? 0.0 : static_cast<double>(products[from + arguments.low_offset]);
    return factor * (static_cast<double>(products[from]) + low);
  };
  const double value = total(arguments.a);
  switch (arguments.epilogue) {
    case Epilogue::store:
      static_cast<float*>(arguments.out)[to] = static_cast<float>(value);
      break;
    case Epilogue::store_double:
      static_cast<double*>(arguments.out)[to] = value;
      break;
    case Epilogue::add:
      static_cast<double*>(arguments.out)[to] += value;
      break;
    case Epilogue::swiglu:
      static_cast<float*>(arguments.out)[to] = gated(value, total(arguments.b));
      break;
  }
}

}  // namespace condensed::kernels::cuda
