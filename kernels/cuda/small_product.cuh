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

/// The rows that a block's outputs read.
template <DType kType>
__device__ void load_fragments(const WeightRow (&rows)[kProductOutputs], int unit,
                               Fragment<kType> (&out)[kProductOutputs]) {
#pragma unroll
  for (int o = 0; o < kProductOutputs; ++o) {
    out[o].load(rows[o], unit);
  }
}

/// Adds what these fragments and all rows of x give.
template <DType kType, int kRows>
__device__ void add_fragments(const float* x, int cols, int n_rows, int unit, bool vectors,
                              const Fragment<kType> (&fragments)[kProductOutputs],
                              typename SumOf<kType>::Type (&sums)[kProductOutputs * kRows]) {
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

/// What a block has to multiply.
struct BlockRows {
  const float* x;  // the first of its rows
  std::int64_t first;
  int n;
};

/// Rows of x that come to this block; n: none.
template <int kRows>
__device__ BlockRows block_rows(const float* x, int cols, const Count& count, int row_blocks) {
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x % static_cast<unsigned>(row_blocks)) * kRows;
  const std::int64_t left = value_of(count) - first;
  return {x + first * cols, first, left <= 0 ? 0 : left < kRows ? static_cast<int>(left) : kRows};
}

/// Sums of the block's four outputs with each row of x, in shared memory: [warps, outputs, rows]. The first
/// weights are on their way while the kernel before ends; find_rows() is called when it has.
template <DType kType, int kRows, typename FindRows>
__device__ BlockRows sum_products(const WeightRow (&weights)[kProductOutputs], int cols,
                                  const FindRows& find_rows, typename SumOf<kType>::Type* shared) {
  using Sum = typename SumOf<kType>::Type;
  const int n_units = Fragment<kType>::units(cols);
  const int step = kProductWarps * kWarp;
  int unit = static_cast<int>(threadIdx.x);
  Fragment<kType> current[kProductOutputs];
  let_next_begin();
  if (unit < n_units) {
    load_fragments<kType>(weights, unit, current);
  }
  await_previous();

  const BlockRows rows = find_rows();
  if (rows.n == 0) {
    return rows;
  }
  const bool vectors = cols % 4 == 0 && reinterpret_cast<std::uintptr_t>(rows.x) % 16 == 0;
  Sum sums[kProductOutputs * kRows] = {};
  while (unit < n_units) {
    // The next fragments are on their way while these are summed up.
    Fragment<kType> following[kProductOutputs];
    if (unit + step < n_units) {
      load_fragments<kType>(weights, unit + step, following);
    }
    add_fragments<kType, kRows>(rows.x, cols, rows.n, unit, vectors, current, sums);
    unit += step;
    if (unit < n_units) {
#pragma unroll
      for (int o = 0; o < kProductOutputs; ++o) {
        current[o] = following[o];
      }
    }
  }
  constexpr int kSums = kProductOutputs * kRows;
  const Sum sum = warp_sums<kSums>(sums);
  if (lane_index() % (kWarp / kSums) == 0) {
    shared[warp_index() * kSums + lane_index() / (kWarp / kSums)] = sum;
  }
  __syncthreads();
  return rows;
}

/// An output's sum with row r: those of all warps in order.
template <typename Sum, int kRows>
__device__ double total_of(const Sum* shared, int output, int r) {
  Sum sum = 0;
  for (int w = 0; w < kProductWarps; ++w) {
    sum += shared[(w * kProductOutputs + output) * kRows + r];
  }
  return static_cast<double>(sum);
}

/// grid: [outputs / 4 (of a gated product / 2) · row_blocks]. Blocks of the same weights stand together: the
/// first of them brings these to the cache for all.
template <DType kType, int kRows>
__global__ void __launch_bounds__(kProductWarps* kWarp) small_product(SmallProductArguments arguments) {
  using Sum = typename SumOf<kType>::Type;
  const bool gate = arguments.epilogue == Epilogue::swiglu;
  const int n_outputs = gate ? kProductOutputs / 2 : kProductOutputs;
  const int first_output =
      static_cast<int>(blockIdx.x / static_cast<unsigned>(arguments.row_blocks)) * n_outputs;
  // Of a product four rows of a; of a gated one two of a, then two of b.
  WeightRow weights[kProductOutputs];
#pragma unroll
  for (int o = 0; o < kProductOutputs; ++o) {
    const int output = first_output + (gate ? o % 2 : o);
    const int last = arguments.a.rows - 1;  // an output past it is computed and not written
    weights[o] = weight_row(gate && o >= 2 ? arguments.b : arguments.a, output < last ? output : last);
  }
  auto* shared = reinterpret_cast<Sum*>(dynamic_shared_bytes);
  const BlockRows rows = sum_products<kType, kRows>(
      weights, arguments.a.cols,
      [&] { return block_rows<kRows>(arguments.x, arguments.a.cols, arguments.count, arguments.row_blocks); },
      shared);

  const int o = static_cast<int>(threadIdx.x) / kRows;
  const int r = static_cast<int>(threadIdx.x) % kRows;
  if (o >= n_outputs || first_output + o >= arguments.a.rows || r >= rows.n) {
    return;
  }
  const auto total = [&](int output) { return total_of<Sum, kRows>(shared, output, r); };
  const std::int64_t at = (rows.first + r) * arguments.a.rows + first_output + o;
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

/// Writes numbers o and o + 2 of the block, half a head apart, turned.
__device__ inline void store_turned(const ProjectArguments& arguments, const ProjectedMatrix& matrix,
                                    std::int64_t row, int low_output, float low, float high) {
  const int half = arguments.head_dim / 2;
  const int d = low_output % arguments.head_dim;
  const std::int64_t at = row * matrix.weight.rows + low_output;
  const auto store = [&](const float* angles, float* out) {
    const Turned pair = turned(low, high, angles + row * arguments.head_dim, half, d);
    out[at] = pair.low;
    out[at + half] = pair.high;
  };
  store(arguments.angles_stream, matrix.out);
  if (matrix.out_sink != nullptr) {
    store(arguments.angles_sink, matrix.out_sink);
  }
}

/// Several matrices, a block four outputs of one of them: where these are rotated, two and those that they
/// are rotated with. grid: [outputs / 4 of each matrix · row_blocks]
template <DType kType, int kRows>
__global__ void __launch_bounds__(kProductWarps* kWarp) project(ProjectArguments arguments) {
  using Sum = typename SumOf<kType>::Type;
  const unsigned block = blockIdx.x / static_cast<unsigned>(arguments.row_blocks);
  ProjectedMatrix matrix = arguments.matrices[0];
#pragma unroll
  for (int m = 1; m < ProjectArguments::kMost; ++m) {
    if (block >= arguments.matrices[m].first_block) {
      matrix = arguments.matrices[m];
    }
  }
  const bool rotated = matrix.rotated != 0;
  const int half = arguments.head_dim / 2;
  const int n_outputs = rotated ? kProductOutputs / 2 : kProductOutputs;
  const int first = static_cast<int>(block - matrix.first_block) * n_outputs;
  const auto output_of = [&](int o) {  // rotated: first counts pairs
    const int pair = first + o % 2;
    return rotated ? pair / half * arguments.head_dim + pair % half + (o >= 2 ? half : 0) : first + o;
  };
  WeightRow weights[kProductOutputs];
#pragma unroll
  for (int o = 0; o < kProductOutputs; ++o) {
    const int output = output_of(o);
    const int last = matrix.weight.rows - 1;  // an output past it is computed and not written
    weights[o] = weight_row(matrix.weight, output < last ? output : last);
  }
  auto* shared = reinterpret_cast<Sum*>(dynamic_shared_bytes);
  const BlockRows rows = sum_products<kType, kRows>(
      weights, matrix.weight.cols,
      [&] {
        return block_rows<kRows>(arguments.x, matrix.weight.cols, arguments.count, arguments.row_blocks);
      },
      shared);

  const int o = static_cast<int>(threadIdx.x) / kRows;
  const int r = static_cast<int>(threadIdx.x) % kRows;
  const int output = output_of(o);
  if (o >= n_outputs || output >= matrix.weight.rows || r >= rows.n) {
    return;
  }
  const auto total = [&](int of) { return static_cast<float>(total_of<Sum, kRows>(shared, of, r)); };
  if (rotated) {
    store_turned(arguments, matrix, rows.first + r, output, total(o), total(o + kProductOutputs / 2));
  } else {
    matrix.out[(rows.first + r) * matrix.weight.rows + output] = total(o);
  }
}

/// What a block of small_product() and of project() keeps in shared memory.
constexpr std::size_t small_product_shared_bytes(DType dtype, int rows) {
  return std::size_t{kProductWarps} * kProductOutputs * static_cast<std::size_t>(rows) *
         (dtype == DType::f32 ? sizeof(double) : sizeof(float));
}

}  // namespace condensed::kernels::cuda
