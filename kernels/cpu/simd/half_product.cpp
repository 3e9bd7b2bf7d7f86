// Products with bf16 and f16 weights.

#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/lanes.h"
#include "kernels/cpu/simd/tiles.h"

namespace condensed::kernels::CONDENSED_SIMD {

namespace {

constexpr std::int64_t kStep = 64;  // columns: two lines of weights

template <DType dtype>
[[gnu::always_inline]] inline Part weight_part(const std::byte* data) {
  return dtype == DType::bf16 ? from_bf16(data) : from_f16(data);
}

// n_rows rows from `first_row` on against n_outputs outputs, `step` apart from `first_output` on.
template <DType dtype, int n_rows, int n_outputs>
class Tile {
 public:
  Tile(const Product& product, std::int64_t first_row, std::int64_t first_output, std::int64_t step)
      : cols_(product.weight.cols), x_(product.x + first_row * cols_) {
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      weights_[o] = product.weight.row(first_output + o * step);
    }
  }

  // Parts [p_begin, p_end) of the lanes of all sums.
  template <int p_begin, int p_end>
  [[gnu::always_inline]] void sum(Part (&sums)[n_rows][n_outputs][p_end - p_begin]) {
    clear(sums);
    std::int64_t c = 0;
    for (; c + kStep <= cols_; c += kStep) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        __builtin_prefetch(weights_[o] + 2 * c + kPrefetchBytes);
        __builtin_prefetch(weights_[o] + 2 * c + kPrefetchBytes + 64);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kStep / kLanes; ++i) {
        add_lanes<p_begin, p_end>(c + i * kLanes, sums);
      }
    }
    for (; c + kLanes <= cols_; c += kLanes) {
      add_lanes<p_begin, p_end>(c, sums);
    }
    if (c < cols_) {
      add_last_lanes<p_begin, p_end>(c, sums);
    }
  }

 private:
  template <int p_begin, int p_end>
  [[gnu::always_inline]] void add_lanes(std::int64_t c, Part (&sums)[n_rows][n_outputs][p_end - p_begin]) {
#pragma GCC unroll 2
    for (int p = p_begin; p < p_end; ++p) {
      const std::int64_t at = c + p * kPartLanes;
      Part row[n_rows];
#pragma GCC unroll 8
      for (int r = 0; r < n_rows; ++r) {
        row[r] = load(x_ + r * cols_ + at);
      }
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        const Part weight = weight_part<dtype>(weights_[o] + 2 * at);
#pragma GCC unroll 8
        for (int r = 0; r < n_rows; ++r) {
          Part& sum = sums[r][o][p - p_begin];
          sum = multiply_add(row[r], weight, sum);
        }
      }
    }
  }

  // The columns from c on, fewer than kLanes.
  template <int p_begin, int p_end>
  void add_last_lanes(std::int64_t c, Part (&sums)[n_rows][n_outputs][p_end - p_begin]) {
    for (int o = 0; o < n_outputs; ++o) {
      alignas(64) std::byte rest[2 * kLanes] = {};
      __builtin_memcpy(rest, weights_[o] + 2 * c, static_cast<std::size_t>(2 * (cols_ - c)));
      for (int p = p_begin; p < p_end; ++p) {
        const std::int64_t at = c + p * kPartLanes;
        const Part weight = weight_part<dtype>(rest + 2 * p * kPartLanes);
        for (int r = 0; r < n_rows; ++r) {
          Part& sum = sums[r][o][p - p_begin];
          sum = multiply_add(load_first(x_ + r * cols_ + at, cols_ - at), weight, sum);
        }
      }
    }
  }

  std::int64_t cols_;
  const float* x_;
  const std::byte* weights_[n_outputs];
};

template <typename Out>
void multiply_any(const Product& product, Out* out) {
  if (product.weight.dtype == DType::bf16) {
    multiply_tiled<Tile, DType::bf16>(product, out);
  } else {
    multiply_tiled<Tile, DType::f16>(product, out);
  }
}

}  // namespace

void multiply_half(const Product& product, float* out) {
  multiply_any(product, out);
}

void multiply_half(const Product& product, double* out) {
  multiply_any(product, out);
}

}  // namespace condensed::kernels::CONDENSED_SIMD
