#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

// Lane l of two 4-lane accumulators adds elements l, l + 8, … and l + 4, l + 12, …
struct Sum {
  __m256d low;
  __m256d high;
};

[[gnu::always_inline]] inline __m256d low_half(__m256 x) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}

[[gnu::always_inline]] inline __m256d high_half(__m256 x) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

[[gnu::always_inline]] inline double total(const Sum& sum) {
  const __m256d lanes = _mm256_add_pd(sum.low, sum.high);
  const __m128d pairs = _mm_add_pd(_mm256_castpd256_pd128(lanes), _mm256_extractf128_pd(lanes, 1));
  return _mm_cvtsd_f64(_mm_add_sd(pairs, _mm_unpackhi_pd(pairs, pairs)));
}

inline void write(float* out, double dot) {
  *out = static_cast<float>(dot);
}

inline void write(double* out, double dot) {
  *out += dot;
}

// n_rows × n_outputs dot products; x: [n_rows, cols], weight: [n_outputs, cols] at any address.
template <typename Out, int n_rows, int n_outputs>
void dot_block(const std::byte* weight, const float* x, std::int64_t cols, Out* out,
               std::int64_t out_stride) {
  Sum sums[n_rows][n_outputs];
#pragma GCC unroll 4
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      sums[r][o] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    }
  }
  for (std::int64_t column = 0; column < cols; column += kLanes) {
    const std::int64_t n = cols - column < kLanes ? cols - column : kLanes;
    __m256 row[n_rows];
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; ++r) {
      const float* at = x + r * cols + column;
      row[r] = n == kLanes ? _mm256_loadu_ps(at) : load_first(at, n);
    }
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      const auto* at = reinterpret_cast<const float*>(weight + (o * cols + column) * 4);  // at any address
      const __m256 w = n == kLanes ? _mm256_loadu_ps(at) : load_first(at, n);
#pragma GCC unroll 4
      for (int r = 0; r < n_rows; ++r) {
        sums[r][o].low = _mm256_fmadd_pd(low_half(row[r]), low_half(w), sums[r][o].low);
        sums[r][o].high = _mm256_fmadd_pd(high_half(row[r]), high_half(w), sums[r][o].high);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      write(out + r * out_stride + o, total(sums[r][o]));
    }
  }
}

template <typename Out, int n_rows, int n_outputs_in_block>
void dot_rows(const Product& product, std::int64_t row, Out* out) {
  const std::int64_t cols = product.weight.cols;
  const float* x = product.x + row * cols;
  Out* at = out + row * product.out_stride;
  std::int64_t o = product.begin;
  for (; o + n_outputs_in_block <= product.end; o += n_outputs_in_block, at += n_outputs_in_block) {
    dot_block<Out, n_rows, n_outputs_in_block>(product.weight.row(o), x, cols, at, product.out_stride);
  }
  for (; o < product.end; ++o, ++at) {
    dot_block<Out, n_rows, 1>(product.weight.row(o), x, cols, at, product.out_stride);
  }
}

// The 16 registers hold at most 8 accumulators beside the operands.
template <typename Out>
void multiply(const Product& product, Out* out) {
  std::int64_t r = 0;
  for (; r + 2 <= product.rows; r += 2) {
    dot_rows<Out, 2, 2>(product, r, out);
  }
  if (r < product.rows) {
    dot_rows<Out, 1, 4>(product, r, out);
  }
}

}  // namespace

void multiply_f32(const Product& product, float* out) {
  multiply(product, out);
}

void multiply_f32(const Product& product, double* out) {
  multiply(product, out);
}

}  // namespace condensed::kernels::avx2
