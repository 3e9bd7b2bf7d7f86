#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

// Where a block of dot products reads and writes. Strides are between rows, in elements.
template <typename Out>
struct Block {
  const std::byte* weight;  // [n_outputs, cols]
  const float* x;           // [n_rows, cols]
  std::int64_t cols;
  Out* out;  // [n_rows, n_outputs]
  std::int64_t out_stride;
};

// The first n of four results.
[[gnu::always_inline]] inline void write(float* out, __m128 results, int n) {
  _mm_maskstore_ps(out, _mm256_castsi256_si128(first_lanes(n)), results);
}

[[gnu::always_inline]] inline void write(double* out, __m128 results, int n) {
  const __m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
  const __m256d sum = _mm256_add_pd(_mm256_maskload_pd(out, mask), _mm256_cvtps_pd(results));
  _mm256_maskstore_pd(out, mask, sum);
}

// sums[r][o] += the products of eight elements of x's row r and of weight row o.
template <DType dtype, typename Out, int n_rows, int n_outputs>
[[gnu::always_inline]] inline void add_products(const Block<Out>& block, std::int64_t column,
                                                __m256 (&sums)[n_rows][n_outputs]) {
  constexpr std::int64_t kBytes = Stored<dtype>::kBytes;
  __m256 row[n_rows];
#pragma GCC unroll 8
  for (int r = 0; r < n_rows; ++r) {
    row[r] = _mm256_loadu_ps(block.x + r * block.cols + column);
  }
#pragma GCC unroll 8
  for (int o = 0; o < n_outputs; ++o) {
    const __m256 w = load_stored<dtype>(block.weight + (o * block.cols + column) * kBytes);
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
      sums[r][o] = _mm256_fmadd_ps(row[r], w, sums[r][o]);
    }
  }
}

// The same for the last n < 8 columns.
template <DType dtype, typename Out, int n_rows, int n_outputs>
[[gnu::always_inline]] inline void add_last_products(const Block<Out>& block, std::int64_t column,
                                                     std::int64_t n, __m256 (&sums)[n_rows][n_outputs]) {
  constexpr std::int64_t kBytes = Stored<dtype>::kBytes;
#pragma GCC unroll 8
  for (int o = 0; o < n_outputs; ++o) {
    const __m256 w = load_stored_first<dtype>(block.weight + (o * block.cols + column) * kBytes, n);
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
      sums[r][o] = _mm256_fmadd_ps(load_first(block.x + r * block.cols + column, n), w, sums[r][o]);
    }
  }
}

// n_rows × n_outputs dot products held in registers: a weight is read and converted once for all the rows.
template <DType dtype, typename Out, int n_rows, int n_outputs>
void dot_block(const Block<Out>& block) {
  constexpr std::int64_t kBytes = Stored<dtype>::kBytes;
  constexpr std::int64_t kColumnsInLine = 64 / kBytes;
  __m256 sums[n_rows][n_outputs];
#pragma GCC unroll 8
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 8
    for (int o = 0; o < n_outputs; ++o) {
      sums[r][o] = _mm256_setzero_ps();
    }
  }

  std::int64_t c = 0;
  for (; c + kColumnsInLine <= block.cols; c += kColumnsInLine) {
#pragma GCC unroll 8
    for (int i = 0; i < kColumnsInLine / kLanes; ++i) {
      add_products<dtype>(block, c + i * kLanes, sums);
      // A line of each row of the next block: the hardware's own prefetch stops at the end of a page.
#pragma GCC unroll 8
      for (int o = i; o < n_outputs; o += kColumnsInLine / kLanes) {
        _mm_prefetch(block.weight + ((n_outputs + o) * block.cols + c) * kBytes, _MM_HINT_T0);
      }
    }
  }
  for (; c + kLanes <= block.cols; c += kLanes) {
    add_products<dtype>(block, c, sums);
  }
  if (c < block.cols) {
    add_last_products<dtype>(block, c, block.cols - c, sums);
  }

#pragma GCC unroll 8
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 8
    for (int o = 0; o < n_outputs; o += 4) {
      const int n = n_outputs - o < 4 ? n_outputs - o : 4;
      const __m128 dots = sum_lanes(sums[r][o], sums[r][n > 1 ? o + 1 : o], sums[r][n > 2 ? o + 2 : o],
                                    sums[r][n > 3 ? o + 3 : o]);
      write(block.out + r * block.out_stride + o, dots, n);
    }
  }
}

// n_rows rows against n_outputs weight rows, n_outputs_in_block at a time.
template <DType dtype, typename Out, int n_rows, int n_outputs_in_block>
void dot_rows(Block<Out> block, std::int64_t n_outputs) {
  const std::int64_t weight_stride = block.cols * Stored<dtype>::kBytes;
  for (; n_outputs >= n_outputs_in_block; n_outputs -= n_outputs_in_block) {
    dot_block<dtype, Out, n_rows, n_outputs_in_block>(block);
    block.weight += n_outputs_in_block * weight_stride;
    block.out += n_outputs_in_block;
  }
  for (; n_outputs > 0; --n_outputs) {
    dot_block<dtype, Out, n_rows, 1>(block);
    block.weight += weight_stride;
    ++block.out;
  }
}

// The 16 registers hold at most 12 sums beside the operands.
template <DType dtype, typename Out>
void dot_all(Block<Out> block, std::int64_t n_rows, std::int64_t n_outputs) {
  for (; n_rows >= 4; n_rows -= 4) {
    dot_rows<dtype, Out, 4, 3>(block, n_outputs);
    block.x += 4 * block.cols;
    block.out += 4 * block.out_stride;
  }
  switch (n_rows) {
    case 3:
      return dot_rows<dtype, Out, 3, 4>(block, n_outputs);
    case 2:
      return dot_rows<dtype, Out, 2, 4>(block, n_outputs);
    case 1:
      return dot_rows<dtype, Out, 1, 8>(block, n_outputs);
    default:
      return;
  }
}

template <typename Out>
void multiply(const MatrixView& weight, const float* x, std::int64_t rows, std::int64_t begin,
              std::int64_t end, Out* out) {
  const Block<Out> block{weight.data + begin * weight.cols * 2, x, weight.cols, out + begin, weight.rows};
  if (weight.dtype == DType::bf16) {
    dot_all<DType::bf16>(block, rows, end - begin);
  } else {
    dot_all<DType::f16>(block, rows, end - begin);
  }
}

}  // namespace

void matmul_16bit(const MatrixView& weight, const float* x, std::int64_t rows, std::int64_t begin,
                  std::int64_t end, float* out) {
  multiply(weight, x, rows, begin, end, out);
}

void matmul_16bit(const MatrixView& weight, const float* x, std::int64_t rows, std::int64_t begin,
                  std::int64_t end, double* out) {
  multiply(weight, x, rows, begin, end, out);
}

}  // namespace condensed::kernels::avx2
