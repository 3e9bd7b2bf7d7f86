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
  static constexpr int kChunks = static_cast<int>(kGroup / kChunk);
  static constexpr int kNumberBytes = static_cast<int>(number_bytes(dtype, kGroup));
  // The largest sum that a lane can reach: two products for each chunk.
  static constexpr std::int64_t kLargest = dtype == DType::q4 ? 8 * 127 : 127;
  static_assert(kChunks * 2 * kLargest * 32767 < (std::int64_t{1} << 31));
};

// One row of weights, read a group at a time.
template <DType dtype>
class WeightRow {
 public:
  using F = Format<dtype>;

  WeightRow() = default;
  WeightRow(const MatrixView& weight, std::int64_t row)
      : numbers_(weight.row(row)),
        factors_(numbers_ + number_bytes(dtype, weight.cols)),
        scales_(numbers_ + row_bytes(dtype, weight.cols) - 2 * ((weight.cols + F::kGroup - 1) / F::kGroup)) {}

  // Makes group g, which must be whole, the current one.
  [[gnu::always_inline]] void select(std::int64_t g) {
    take(numbers_ + g * F::kNumberBytes, factors_ + g * kFactors, g);
  }

  // The same for the last group, which is not: room for a copy, filled up with zeros.
  struct Rest {
    std::byte numbers[F::kNumberBytes];
    std::byte factors[8];
  };
  void select_rest(std::int64_t g, std::int64_t cols, Rest& rest) {
    __builtin_memset(&rest, 0, sizeof(rest));
    const std::int64_t n = cols - g * F::kGroup;
    __builtin_memcpy(rest.numbers, numbers_ + g * F::kNumberBytes,
                     static_cast<std::size_t>(number_bytes(dtype, n)));
    if constexpr (dtype == DType::q4) {
      __builtin_memcpy(rest.factors, factors_ + g * kFactors,
                       static_cast<std::size_t>((n + kQ4FactorGroup - 1) / kQ4FactorGroup));
    }
    take(rest.numbers, rest.factors, g);
  }

  // The scale of the current group.
  [[gnu::always_inline]] float scale() const { return scale_; }

  // The numbers of the current group.
  [[gnu::always_inline]] const std::byte* numbers() const { return at_; }

  // Part p of chunk c of the current group.
  [[gnu::always_inline]] Words part(int c, int p) const {
    if constexpr (dtype == DType::q8) {
      return widen_i8(at_ + c * kChunk + p * kPartInts);
    } else {
      static_assert(kQ4FactorGroup == kChunk);
      constexpr int kChunksInBlock = kQ4Block / kChunk;
      const Words words = load_words(at_ + c / kChunksInBlock * (kQ4Block / 2) + p * kPartInts * 2);
      return multiply_words(nibbles(words, c % kChunksInBlock), broadcast_words(&factor_[c]));
    }
  }

  // Asks for what lies a little further on in memory: the rest of this row, its scales, the next row.
  [[gnu::always_inline]] void prefetch() const {
#pragma GCC unroll 4
    for (int line = 0; line < F::kNumberBytes / 64; ++line) {
      __builtin_prefetch(at_ + kPrefetchBytes + line * 64);
    }
  }

 private:
  static constexpr std::int64_t kFactors = dtype == DType::q4 ? kQ4Group / kQ4FactorGroup : 0;
  static_assert(kFactors == 0 || kFactors == 8);

  [[gnu::always_inline]] void take(const std::byte* numbers, const std::byte* factors, std::int64_t g) {
    at_ = numbers;
    scale_ = from_f16(bits_at(scales_ + 2 * g));
    if constexpr (dtype == DType::q4) {
      scale_ *= kQ4FactorUnit;
      widen_factors(factors, factor_);
    }
  }

  const std::byte* numbers_ = nullptr;
  const std::byte* factors_ = nullptr;
  const std::byte* scales_ = nullptr;
  const std::byte* at_ = nullptr;
  float scale_ = 0;
  alignas(32) std::int32_t factor_[8];
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
    clear(sums);
    const std::int64_t n_groups = cols_ / F::kGroup;
    for (std::int64_t g = 0; g < n_groups; ++g) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        weights_[o].select(g);
        weights_[o].prefetch();
        add_group<p_begin, p_end>(g, o, sums);
      }
    }
    if (n_groups * F::kGroup < cols_) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        typename WeightRow<dtype>::Rest rest;
        weights_[o].select_rest(n_groups, cols_, rest);
        add_group<p_begin, p_end>(n_groups, o, sums);
      }
    }
  }

 private:
  // The exact products of the current group of output o with the rows at x.
  template <int p_begin, int p_end>
  [[gnu::always_inline]] void multiply_group(int o, const std::int16_t* x,
                                             Ints (&products)[n_rows][p_end - p_begin]) {
#ifdef __ARM_FEATURE_DOTPROD
    if constexpr (dtype == DType::q8) {
#pragma GCC unroll 2
      for (int p = p_begin; p < p_end; ++p) {
        multiply_bytes(weights_[o].numbers(), x, x_.integer_stride, p, products, p - p_begin);
      }
      return;
    }
#endif
#pragma GCC unroll 8
    for (int c = 0; c < F::kChunks; ++c) {
#pragma GCC unroll 2
      for (int p = p_begin; p < p_end; ++p) {
        const Words weight = weights_[o].part(c, p);
#pragma GCC unroll 8
        for (int r = 0; r < n_rows; ++r) {
          const Words row = load_activations(x + r * x_.integer_stride + c * kChunk + p * kPartInts);
          Ints& sum = products[r][p - p_begin];
          sum = c == 0 ? multiply_pairs(row, weight) : add_pairs(sum, row, weight);
        }
      }
    }
  }

  template <int p_begin, int p_end>
  [[gnu::always_inline]] void add_group(std::int64_t g, int o,
                                        Part (&sums)[n_rows][n_outputs][p_end - p_begin]) {
    const std::int16_t* x = x_.integers + g * F::kGroup;
    // Activations come from the cache for every output anew: kept, they would take the registers of the sums.
    __asm__("" : "+r"(x));
    Ints products[n_rows][p_end - p_begin];
    multiply_group<p_begin, p_end>(o, x, products);
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
      const float scale = x_.scales[r * x_.scale_stride + g] * weights_[o].scale();
#pragma GCC unroll 2
      for (int p = 0; p < p_end - p_begin; ++p) {
        sums[r][o][p] = multiply_add(to_float(products[r][p]), broadcast(&scale), sums[r][o][p]);
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
