#pragma once

#include "kernels/cuda/weight_fragments.cuh"

/// Products with few rows of activations, at the speed at which the weights can be read: a block takes four
/// rows of weights, each read once, its warps share out the columns. The order of every sum follows from the
/// number of columns alone.
namespace condensed::kernels::cuda {

constexpr int kProductWarps = 4;
constexpr int kProductOutputs = 4;
constexpr int kMaxSmallRows = 8;

/// Numbers k … k + 8 of a row of activations, zeros past its end.
__device__ inline void load_activations(const float* row, int k, int cols, bool vectors,
                                        float (&out)[kPiece]) {
  if (vectors && k + kPiece <= cols) {
    const auto* at = reinterpret_cast<const float4*>(row + k);
    const float4 low = at[0];
    const float4 high = at[1];
    out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
    out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    out[i] = k + i < cols ? row[k + i] : 0.0F;
  }
}

template <DType kType>
__device__ void add_piece(const float (&weights)[kPiece], float multiplier, const float (&x)[kPiece],
                          typename SumOf<kType>::Type& sum) {
  if constexpr (Fragment<kType>::kScaled) {
    float part = 0;
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      part = fmaf(weights[i], x[i], part);
    }
    sum = fmaf(multiplier, part, sum);
  } else if constexpr (kType == DType::f32) {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      sum = fma(static_cast<double>(weights[i]), static_cast<double>(x[i]), sum);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      sum = fmaf(weights[i], x[i], sum);
    }
  }
}

/// What the block's four outputs read: of a product four rows of a; of a gated one two of a, then two of b.
template <DType kType>
__device__ void load_fragments(const SmallProductArguments& arguments, int first_output, int unit,
                               Fragment<kType> (&out)[kProductOutputs]) {
#pragma unroll
  for (int o = 0; o < kProductOutputs; ++o) {
    const bool gate = arguments.epilogue == Epilogue::swiglu;
    const int output = first_output + (gate ? o % 2 : o);
    const int last = arguments.a.rows - 1;  // an output past it is computed and not written
    out[o].load(gate && o >= 2 ? arguments.b : arguments.a, output < last ? output : last, unit);
  }
}

/// Adds what these fragments and all rows of x give.
template <DType kType, int kRows>
__device__ void add_fragments(const SmallProductArguments& arguments, const float* x, int n_rows, int unit,
                              bool vectors, const Fragment<kType> (&fragments)[kProductOutputs],
                              typename SumOf<kType>::Type (&sums)[kProductOutputs * kRows]) {
  const int cols = arguments.a.cols;
#pragma unroll
  for (int p = 0; p < Fragment<kType>::kPieces; ++p) {
    float weights[kProductOutputs][kPiece];
#pragma unroll
    for (int o = 0; o < kProductOutputs; ++o) {
      fragments[o].piece(p, weights[o]);
    }
    const int k = Fragment<kType>::first(unit, p);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r < n_rows) {
        float numbers[kPiece];
        load_activations(x + static_cast<std::int64_t>(r) * cols, k, cols, vectors, numbers);
#pragma unroll
        for (int o = 0; o < kProductOutputs; ++o) {
          add_piece<kType>(weights[o], fragments[o].multiplier(p), numbers, sums[o * kRows + r]);
        }
      }
    }
  }
}

/// The block's sums, of all warps in order, go to where they belong. shared: [warps, outputs, rows].
template <typename Sum, int kRows>
__device__ void finish_block(const SmallProductArguments& arguments, const Sum* shared, int first_output,
                             std::int64_t first_row, int n_rows) {
  const bool gate = arguments.epilogue == Epilogue::swiglu;
  const int n_outputs = gate ? kProductOutputs / 2 : kProductOutputs;
  const int t = static_cast<int>(threadIdx.x);
  const int o = t / kRows;
  const int r = t % kRows;
  if (o >= n_outputs || first_output + o >= arguments.a.rows || r >= n_rows) {
    return;
  }
  const auto total = [&](int output) {
    Sum sum = 0;
    for (int w = 0; w < kProductWarps; ++w) {
      sum += shared[(w * kProductOutputs + output) * kRows + r];
    }
    return static_cast<double>(sum);
  };
  const std::int64_t at = (first_row + r) * arguments.a.rows + first_output + o;
  switch (arguments.epilogue) {
    case Epilogue::store:
      static_cast<float*>(arguments.out)[at] = static_cast<float>(total(o));
      break;
    case Epilogue::store_double:
      static_cast<double*>(arguments.out)[at] = total(o);
      break;
    case Epilogue::add:
      static_cast<double*>(arguments.out)[at] += total(o);
      break;
    case Epilogue::swiglu:
      static_cast<float*>(arguments.out)[at] = gated(total(o), total(o + kProductOutputs / 2));
      break;
  }
}

/// grid: [outputs / 4 (of a gated product / 2) · row_blocks]. Blocks of the same weights stand together: the
/// first of them brings these to the cache for all. The first weights are on their way while the kernel
/// before ends.
template <DType kType, int kRows>
__global__ void __launch_bounds__(kProductWarps* kWarp) small_product(SmallProductArguments arguments) {
  using Sum = typename SumOf<kType>::Type;
  const auto row_blocks = static_cast<unsigned>(arguments.row_blocks);
  const int per_block = arguments.epilogue == Epilogue::swiglu ? kProductOutputs / 2 : kProductOutputs;
  const int first_output = static_cast<int>(blockIdx.x / row_blocks) * per_block;
  const int n_units = Fragment<kType>::units(arguments.a.cols);
  const int step = kProductWarps * kWarp;
  int unit = static_cast<int>(threadIdx.x);
  Fragment<kType> current[kProductOutputs];
  let_next_begin();
  if (unit < n_units) {
    load_fragments<kType>(arguments, first_output, unit, current);
  }
  await_previous();

  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x % row_blocks) * kRows;
  const std::int64_t rows_left = value_of(arguments.count) - first_row;
  if (rows_left <= 0) {
    return;
  }
  const int n_rows = rows_left < kRows ? static_cast<int>(rows_left) : kRows;
  const float* x = arguments.x + first_row * arguments.a.cols;
  const bool vectors = arguments.a.cols % 4 == 0 && reinterpret_cast<std::uintptr_t>(arguments.x) % 16 == 0;
  Sum sums[kProductOutputs * kRows] = {};
  while (unit < n_units) {
    // The next fragments are on their way while these are summed up.
    Fragment<kType> following[kProductOutputs];
    if (unit + step < n_units) {
      load_fragments<kType>(arguments, first_output, unit + step, following);
    }
    add_fragments<kType, kRows>(arguments, x, n_rows, unit, vectors, current, sums);
    unit += step;
    if (unit < n_units) {
#pragma unroll
      for (int o = 0; o < kProductOutputs; ++o) {
        current[o] = following[o];
      }
    }
  }

  constexpr int kSums = kProductOutputs * kRows;
  auto* shared = reinterpret_cast<Sum*>(dynamic_shared_bytes);
  const Sum sum = warp_sums<kSums>(sums);
  if (lane_index() % (kWarp / kSums) == 0) {
    shared[warp_index() * kSums + lane_index() / (kWarp / kSums)] = sum;
  }
  __syncthreads();
  finish_block<Sum, kRows>(arguments, shared, first_output, first_row, n_rows);
}

/// What a block of small_product() keeps in shared memory.
constexpr std::size_t small_product_shared_bytes(DType dtype, int rows) {
  return std::size_t{kProductWarps} * kProductOutputs * static_cast<std::size_t>(rows) *
         (dtype == DType::f32 ? sizeof(double) : sizeof(float));
}

}  // namespace condensed::kernels::cuda
