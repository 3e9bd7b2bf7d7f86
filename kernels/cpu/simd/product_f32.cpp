// Products with f32 weights, summed in float64: who keeps weights in 32 bits wants the digits, and the memory
// is the limit all the same. Nothing is won in registers of more than eight lanes.

#include "kernels/cpu/simd/eight.h"
#include "kernels/cpu/simd/kernels.h"

namespace condensed::kernels::CONDENSED_SIMD {

namespace {

constexpr std::int64_t kColumns = 8;

// Lane l of two 4-lane accumulators adds elements l, l + 8, … and l + 4, l + 12, …
struct Sum {
  FourDoubles low;
  FourDoubles high;
};

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
      sums[r][o] = {four_of(0.0), four_of(0.0)};
    }
  }
  for (std::int64_t column = 0; column < cols; column += kColumns) {
    const std::int64_t n = cols - column < kColumns ? cols - column : kColumns;
    Eight row[n_rows];
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; ++r) {
      const float* at = x + r * cols + column;
      row[r] = n == kColumns ? load_eight(at) : load_first_eight(at, n);
    }
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      const auto* at = reinterpret_cast<const float*>(weight + (o * cols + column) * 4);  // at any address
      const Eight w = n == kColumns ? load_eight(at) : load_first_eight(at, n);
#pragma GCC unroll 4
      for (int r = 0; r < n_rows; ++r) {
        sums[r][o].low = multiply_add(low_half(row[r]), low_half(w), sums[r][o].low);
        sums[r][o].high = multiply_add(high_half(row[r]), high_half(w), sums[r][o].high);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      write(out + r * out_stride + o, sum(add(sums[r][o].low, sums[r][o].high)));
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

// Sixteen registers of four float64 hold at most 8 accumulators beside the operands.
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

}  // namespace condensed::kernels::CONDENSED_SIMD
