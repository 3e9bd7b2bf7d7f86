#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

// Where a block of dot products reads and writes. Strides are between rows, in elements.
struct Block {
  const std::byte* weight;  // [n_outputs, cols]
  const float* x;           // [n_rows, cols]
  std::int64_t cols;
  float* out;  // [n_rows, n_outputs]
  std::int64_t out_stride;
  Epilogue epilogue;
};

// The first n of four results.
[[gnu::always_inline]] inline void write(float* out, __m128 results, int n, Epilogue epilogue) {
  const __m128i mask = _mm256_castsi256_si128(first_lanes(n));
  if (epilogue == Epilogue::add) {
    results = _mm_add_ps(_mm_maskload_ps(out, mask), results);
  }
  _mm_maskstore_ps(out, mask, results);
}

// sums[r][o] += the products of eight elements of x's row r and of weight row o.
template <DType dtype, int n_rows, int n_outputs>
[[gnu::always_inline]] inline void add_products(const Block& block, std::int64_t column,
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
template <DType dtype, int n_rows, int n_outputs>
[[gnu::always_inline]] inline void add_last_products(const Block& block, std::int64_t column, std::int64_t n,
                                                     __m256 (&sums)[n_rows][n_outputs]) {
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
template <DType dtype, int n_rows, int n_outputs>
void dot_block(const Block& block) {
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
      write(block.out + r * block.out_stride + o, dots, n, block.epilogue);
    }
  }
}

// n_rows rows against n_outputs weight rows, n_outputs_in_block at a time.
template <DType dtype, int n_rows, int n_outputs_in_block>
void dot_rows(Block block, std::int64_t n_outputs) {
  const std::int64_t weight_stride = block.cols * Stored<dtype>::kBytes;
  for (; n_outputs >= n_outputs_in_block; n_outputs -= n_outputs_in_block) {
    dot_block<dtype, n_rows, n_outputs_in_block>(block);
    block.weight += n_outputs_in_block * weight_stride;
    block.out += n_outputs_in_block;
  }
  for (; n_outputs > 0; --n_outputs) {
    dot_block<dtype, n_rows, 1>(block);
    block.weight += weight_stride;
    ++block.out;
  }
}

// The 16 registers hold at most 12 sums beside the operands.
template <DType dtype>
void dot_all(Block block, std::int64_t n_rows, std::int64_t n_outputs) {
  for (; n_rows >= 4; n_rows -= 4) {
    dot_rows<dtype, 4, 3>(block, n_outputs);
    block.x += 4 * block.cols;
    block.out += 4 * block.out_stride;
  }
  switch (n_rows) {
    case 3:
      return dot_rows<dtype, 3, 4>(block, n_outputs);
    case 2:
      return dot_rows<dtype, 2, 4>(block, n_outputs);
    case 1:
      return dot_rows<dtype, 1, 8>(block, n_outputs);
    default:
      return;
  }
}

}  // namespace

void matmul(const MatrixView& weight, const float* x, std::int64_t rows, std::int64_t begin, std::int64_t end,
            float* out, Epilogue epilogue) {
  const std::int64_t element_bytes = weight.dtype == DType::f32 ? 4 : 2;
  const Block block{
      weight.data + begin * weight.cols * element_bytes, x, weight.cols, out + begin, weight.rows, epilogue};
  switch (weight.dtype) {
    case DType::f32:
      return dot_all<DType::f32>(block, rows, end - begin);
    case DType::bf16:
      return dot_all<DType::bf16>(block, rows, end - begin);
    case DType::f16:
      return dot_all<DType::f16>(block, rows, end - begin);
  }
}

}  // namespace condensed::kernels::avx2
