// Products with q8 and q4 weights. Activations come as 16-bit integers with a scale for every group of
// weights, so a group's products and their sum are exact integers; what is left to float32 is one product by
// both scales and one addition for each group and lane.

#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/lanes.h"
#include "kernels/cpu/simd/tiles.h"

namespace condensed::kernels::CONDENSED_SIMD {

namespace {

// Elements multiplied at once: sixteen lanes of two neighbours each.
constexpr std::int64_t kChunk = 32;
constexpr std::int64_t kPartInts = kPartLanes * 2;

template <DType dtype>
struct Format {
  static constexpr std::int64_t kGroup = dtype == DType::q4 ? kQ4Group : kQ8Group;
  static constexpr int kGroups = 4;  // whose scales are looked at together
  static constexpr std::int64_t kBlock = kGroups * kGroup;
  static constexpr int kChunksInGroup = static_cast<int>(kGroup / kChunk);
  static_assert(kBlock == kActivationBlock<dtype>);
};

// One row of weights, read a block of four groups at a time.
template <DType dtype>
class WeightRow {
 public:
  using F = Format<dtype>;

  WeightRow() = default;
  WeightRow(const MatrixView& weight, std::int64_t row)
      : numbers_(weight.row(row)), scales_(numbers_ + number_bytes(dtype, weight.cols)) {}

  // Makes block b, which must be whole, the current one.
  [[gnu::always_inline]] void select(std::int64_t b) {
    take(numbers_ + number_bytes(dtype, b * F::kBlock), scales_ + 2 * F::kGroups * b);
  }

  // The same for the last block, which is not: room for a copy, filled up with zeros.
  struct Rest {
    std::byte numbers[number_bytes(dtype, F::kBlock)];
    std::byte scales[2 * F::kGroups];
  };
  void select_rest(std::int64_t b, std::int64_t cols, Rest& rest) {
    __builtin_memset(&rest, 0, sizeof(rest));
    const std::int64_t n = cols - b * F::kBlock;
    __builtin_memcpy(rest.numbers, numbers_ + number_bytes(dtype, b * F::kBlock),
                     static_cast<std::size_t>(number_bytes(dtype, n)));
    __builtin_memcpy(rest.scales, scales_ + 2 * F::kGroups * b,
                     static_cast<std::size_t>((n + F::kGroup - 1) / F::kGroup * 2));
    take(rest.numbers, rest.scales);
  }

  // The scales of the current block's groups.
  [[gnu::always_inline]] __m128 scales() const { return scale_; }

  // Part p of chunk c of the current block.
  [[gnu::always_inline]] Ints part(int c, int p) const {
    if constexpr (dtype == DType::q8) {
      return widen_i8(at_ + c * kChunk + p * kPartInts);
    } else {
      return nibbles(load_ints(at_ + p * kPartInts * 2), c);
    }
  }

  // Asks for what lies a little further on in memory: the rest of this row, its scales, the next row.
  [[gnu::always_inline]] void prefetch() const {
    constexpr int kLines = static_cast<int>(number_bytes(dtype, F::kBlock) / 64);
#pragma GCC unroll 4
    for (int line = 0; line < kLines; ++line) {
      _mm_prefetch(at_ + kPrefetchBytes + line * 64, _MM_HINT_T0);
    }
  }

 private:
  [[gnu::always_inline]] void take(const std::byte* numbers, const std::byte* scales) {
    at_ = numbers;
    scale_ = four_f16(scales);
  }

  const std::byte* numbers_;
  const std::byte* scales_;
  const std::byte* at_;
  __m128 scale_;
};

// n_rows rows from `first_row` on against n_outputs outputs, `step` apart from `first_output` on.
template <DType dtype, int n_rows, int n_outputs>
class Tile {
 public:
  using F = Format<dtype>;

  Tile(const Product& product, std::int64_t first_row, std::int64_t first_output, std::int64_t step)
      : x_(product.activations), cols_(product.weight.cols) {
    x_.integers += first_row * x_.integer_stride;
    x_.scales += first_row * x_.scale_stride;
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      weights_[o] = WeightRow<dtype>(product.weight, first_output + o * step);
    }
  }

  // Parts [p_begin, p_end) of the lanes of all sums.
  template <int p_begin, int p_end>
  [[gnu::always_inline]] void sum(Part (&sums)[n_rows][n_outputs][p_end - p_begin]) {
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
#pragma GCC unroll 2
        for (int p = p_begin; p < p_end; ++p) {
          sums[r][o][p - p_begin] = zero();
        }
      }
    }
    const std::int64_t n_blocks = cols_ / F::kBlock;
    for (std::int64_t b = 0; b < n_blocks; ++b) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        weights_[o].select(b);
        weights_[o].prefetch();
      }
      add_block<p_begin, p_end>(b, sums);
    }
    if (n_blocks * F::kBlock < cols_) {
      typename WeightRow<dtype>::Rest rest[n_outputs];
      for (int o = 0; o < n_outputs; ++o) {
        weights_[o].select_rest(n_blocks, cols_, rest[o]);
      }
      add_block<p_begin, p_end>(n_blocks, sums);
    }
  }

 private:
  template <int p_begin, int p_end>
  [[gnu::always_inline]] void add_block(std::int64_t b, Part (&sums)[n_rows][n_outputs][p_end - p_begin]) {
    alignas(16) float scales[n_rows][n_outputs][F::kGroups];
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
      const __m128 x_scales = _mm_loadu_ps(x_.scales + r * x_.scale_stride + b * F::kGroups);
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        _mm_store_ps(scales[r][o], _mm_mul_ps(x_scales, weights_[o].scales()));
      }
    }
    const std::int16_t* x = x_.integers + b * F::kBlock;
#pragma GCC unroll 4
    for (int g = 0; g < F::kGroups; ++g) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
#pragma GCC unroll 2
        for (int p = p_begin; p < p_end; ++p) {
          Ints weight[F::kChunksInGroup];
#pragma GCC unroll 2
          for (int c = 0; c < F::kChunksInGroup; ++c) {
            weight[c] = weights_[o].part(g * F::kChunksInGroup + c, p);
          }
#pragma GCC unroll 8
          for (int r = 0; r < n_rows; ++r) {
            const std::int16_t* at = x + r * x_.integer_stride + g * F::kGroup + p * kPartInts;
            Ints products = multiply_pairs(load_ints(at), weight[0]);
            if constexpr (F::kChunksInGroup == 2) {
              products = add_ints(products, multiply_pairs(load_ints(at + kChunk), weight[1]));
            }
            Part& sum = sums[r][o][p - p_begin];
            sum = multiply_add(to_float(products), broadcast(&scales[r][o][g]), sum);
          }
        }
      }
    }
  }

  Activations x_;
  std::int64_t cols_;
  WeightRow<dtype> weights_[n_outputs];
};

template <typename Out>
void multiply_any(const Product& product, Out* out) {
  if (product.weight.dtype == DType::q8) {
    multiply_tiled<Tile, DType::q8>(product, out);
  } else {
    multiply_tiled<Tile, DType::q4>(product, out);
  }
}

}  // namespace

void multiply_quantised(const Product& product, float* out) {
  multiply_any(product, out);
}

void multiply_quantised(const Product& product, double* out) {
  multiply_any(product, out);
}

}  // namespace condensed::kernels::CONDENSED_SIMD
