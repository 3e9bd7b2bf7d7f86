#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/lanes.h"

namespace condensed::kernels::CONDENSED_SIMD {

namespace {

// A few rows are multiplied as the weights come out of memory: 1 row × kDirectOutputs, or 2 rows × half as
// many. More rows share weights unpacked to float32 once for all of them.
constexpr std::int64_t kDirectRows = 2;
constexpr int kDirectOutputs = 4;
// The sums of a tile stay in registers.
constexpr int kTileRows = kRegisters == 32 ? 6 : 4;
constexpr int kTileOutputs = kRegisters == 32 ? 4 : 3;
// Unpacked at a time: 12 outputs × 512 columns stay in the first-level cache while all rows run against them.
constexpr int kPanelOutputs = 12;
constexpr std::int64_t kPanelColumns = 512;
// Rows that run together: their sums stay in the second-level cache.
constexpr std::int64_t kBlockRows = 96;
static_assert(kPanelOutputs % kTileOutputs == 0 && kPanelColumns % kLanes == 0 &&
              kBlockRows % kTileRows == 0);

std::int64_t padded(std::int64_t cols) {
  return (cols + kLanes - 1) / kLanes * kLanes;
}

// One row of weights, read a group of kColumns at a time.
template <DType dtype>
class WeightRow {
 public:
  static constexpr std::int64_t kColumns = dtype == DType::q4 ? kQ4Block : 64;
  static constexpr int kGroupParts = static_cast<int>(kColumns) / kPartLanes;

  WeightRow() = default;
  WeightRow(const MatrixView& weight, std::int64_t row)
      : numbers_(weight.row(row)), scales_(numbers_ + number_bytes(dtype, weight.cols)) {}

  // Makes group g the current one.
  [[gnu::always_inline]] void select(std::int64_t g) {
    at_ = numbers_ + number_bytes(dtype, g * kColumns);
    if constexpr (dtype == DType::q8) {
      scale_[0] = scale(g);
    } else if constexpr (dtype == DType::q4) {
      static_assert(kQ4Block == 4 * kQ4Group);
      from_four_f16(scales_ + 8 * g, scale_);
#pragma GCC unroll 2
      for (int i = 0; i < kParts; ++i) {
        words_[i] = load_words(at_ + i * kPartLanes * 4);
      }
    }
  }

  // Part i of the current group.
  [[gnu::always_inline]] Part part(int i) const {
    if constexpr (dtype == DType::bf16) {
      return from_bf16(at_ + 2 * i * kPartLanes);
    } else if constexpr (dtype == DType::f16) {
      return from_f16(at_ + 2 * i * kPartLanes);
    } else if constexpr (dtype == DType::q8) {
      return multiply(from_i8(at_ + i * kPartLanes), broadcast(&scale_[0]));
    } else {
      const int nibble = i / kParts;
      return multiply(from_nibble(words_[i % kParts], nibble), broadcast(&scale_[nibble * 16 / kQ4Group]));
    }
  }

  // Element c, on its own.
  float element(std::int64_t c) const {
    if constexpr (dtype == DType::bf16) {
      const std::uint32_t bits = std::uint32_t{bits_at(numbers_ + 2 * c)} << 16;
      float value;
      __builtin_memcpy(&value, &bits, sizeof(value));
      return value;
    } else if constexpr (dtype == DType::f16) {
      return from_f16(bits_at(numbers_ + 2 * c));
    } else if constexpr (dtype == DType::q8) {
      return static_cast<float>(static_cast<std::int8_t>(numbers_[c])) * scale(c / kQ8Group);
    } else {
      const std::int64_t nibble = c % kQ4Block / 16;
      const std::byte pair = numbers_[c / kQ4Block * (kQ4Block / 2) + c % 16 * 4 + nibble / 2];
      const int integer = (static_cast<int>(pair) >> (nibble % 2 * 4)) & 15;
      return static_cast<float>(integer - (integer & 8) * 2) * scale(c / kQ4Group);
    }
  }

  // Elements [first, cols), then zeros up to kColumns.
  void rest(std::int64_t first, std::int64_t cols, float* out) const {
    for (std::int64_t i = 0; i < kColumns; ++i) {
      out[i] = first + i < cols ? element(first + i) : 0.0F;
    }
  }

  // Asks for the current group of the row that lies `bytes` further on.
  [[gnu::always_inline]] void prefetch(std::int64_t bytes) const {
    for (std::int64_t line = 0; line < number_bytes(dtype, kColumns); line += 64) {
      _mm_prefetch(at_ + bytes + line, _MM_HINT_T0);
    }
  }

 private:
  static std::uint16_t bits_at(const std::byte* at) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, at, sizeof(bits));
    return bits;
  }
  float scale(std::int64_t group) const {
    return from_f16(bits_at(scales_ + 2 * group));
  }

  const std::byte* numbers_;
  const std::byte* scales_;
  const std::byte* at_;
  alignas(16) float scale_[4];
  Words words_[dtype == DType::q4 ? kParts : 1];
};

void write(float* out, float product) {
  *out = product;
}

void write(double* out, float product) {
  *out += static_cast<double>(product);
}

template <DType dtype, typename Out, int n_rows, int n_outputs>
void direct_tile(const Product& product, const float* x, std::int64_t first_output, Out* out) {
  using Row = WeightRow<dtype>;
  const std::int64_t cols = product.weight.cols;
  const std::int64_t n_groups = cols / Row::kColumns;
  const std::int64_t next_rows = n_outputs * row_bytes(dtype, cols);
  Row weights[n_outputs];
  Part sums[n_rows][n_outputs][kParts];
#pragma GCC unroll 8
  for (int o = 0; o < n_outputs; ++o) {
    weights[o] = Row(product.weight, first_output + o);
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < kParts; ++p) {
        sums[r][o][p] = zero();
      }
    }
  }
  for (std::int64_t g = 0; g < n_groups; ++g) {
    const float* column = x + g * Row::kColumns;
#pragma GCC unroll 8
    for (int o = 0; o < n_outputs; ++o) {
      weights[o].select(g);
      // The hardware's own prefetch stops at the end of a page.
      weights[o].prefetch(next_rows);
    }
#pragma GCC unroll 16
    for (int i = 0; i < Row::kGroupParts; ++i) {
#pragma GCC unroll 8
      for (int o = 0; o < n_outputs; ++o) {
        const Part weight = weights[o].part(i);
#pragma GCC unroll 4
        for (int r = 0; r < n_rows; ++r) {
          Part& sum = sums[r][o][i % kParts];
          sum = multiply_add(load(column + r * cols + i * kPartLanes), weight, sum);
        }
      }
    }
  }
  if (const std::int64_t first = n_groups * Row::kColumns; first < cols) {
    for (int o = 0; o < n_outputs; ++o) {
      alignas(64) float rest[Row::kColumns];
      weights[o].rest(first, cols, rest);
      for (int i = 0; i < Row::kGroupParts && first + i / kParts * kLanes < cols; ++i) {
        const std::int64_t c = first + i * kPartLanes;
        for (int r = 0; r < n_rows; ++r) {
          Part& sum = sums[r][o][i % kParts];
          sum = multiply_add(load_first(x + r * cols + c, cols - c), load(rest + i * kPartLanes), sum);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 8
    for (int o = 0; o < n_outputs; ++o) {
      write(out + r * product.out_stride + o, sum_lanes(sums[r][o]));
    }
  }
}

template <DType dtype, typename Out, int n_rows, int n_outputs>
void multiply_direct(const Product& product, Out* out) {
  std::int64_t o = product.begin;
  for (; o + n_outputs <= product.end; o += n_outputs) {
    direct_tile<dtype, Out, n_rows, n_outputs>(product, product.x, o, out + o - product.begin);
  }
  for (; o < product.end; ++o) {
    direct_tile<dtype, Out, n_rows, 1>(product, product.x, o, out + o - product.begin);
  }
}

// Columns [first, first + n) of an output's weights, zeros up to whole lanes; first: a multiple of every
// group.
template <DType dtype>
void unpack(const MatrixView& weight, std::int64_t output, std::int64_t first, std::int64_t n, float* out) {
  using Row = WeightRow<dtype>;
  static_assert(kPanelColumns % Row::kColumns == 0);
  Row row(weight, output);
  const std::int64_t n_groups = n / Row::kColumns;
  for (std::int64_t g = 0; g < n_groups; ++g) {
    row.select(first / Row::kColumns + g);
    row.prefetch(kPanelOutputs * row_bytes(dtype, weight.cols));
#pragma GCC unroll 16
    for (int i = 0; i < Row::kGroupParts; ++i) {
      store(out + g * Row::kColumns + i * kPartLanes, row.part(i));
    }
  }
  for (std::int64_t c = n_groups * Row::kColumns; c < padded(n); ++c) {
    out[c] = c < n ? row.element(first + c) : 0.0F;
  }
}

// Adds the products of n columns to the sums of n_rows × n_outputs results.
// x: rows `x_stride` apart; weights: [n_outputs, kPanelColumns]; sums: [n_rows, n_outputs, kLanes], rows of
// them `sum_stride` apart.
template <int n_rows, int n_outputs>
void tile(const float* x, std::int64_t x_stride, const float* weights, std::int64_t n, float* sums,
          std::int64_t sum_stride) {
#pragma GCC unroll 2
  for (int p = 0; p < kParts; ++p) {
    Part sum[n_rows][n_outputs];
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        sum[r][o] = load(sums + r * sum_stride + o * kLanes + p * kPartLanes);
      }
    }
    std::int64_t c = p * kPartLanes;
    for (; c + kPartLanes <= n; c += kLanes) {
      Part weight[n_outputs];
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        weight[o] = load(weights + o * kPanelColumns + c);
      }
#pragma GCC unroll 8
      for (int r = 0; r < n_rows; ++r) {
        const Part row = load(x + r * x_stride + c);
#pragma GCC unroll 4
        for (int o = 0; o < n_outputs; ++o) {
          sum[r][o] = multiply_add(row, weight[o], sum[r][o]);
        }
      }
    }
    if (c < n) {
#pragma GCC unroll 8
      for (int r = 0; r < n_rows; ++r) {
        const Part row = load_first(x + r * x_stride + c, n - c);
#pragma GCC unroll 4
        for (int o = 0; o < n_outputs; ++o) {
          sum[r][o] = multiply_add(row, load(weights + o * kPanelColumns + c), sum[r][o]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
      for (int o = 0; o < n_outputs; ++o) {
        store(sums + r * sum_stride + o * kLanes + p * kPartLanes, sum[r][o]);
      }
    }
  }
}

constexpr std::int64_t kSumStride = kPanelOutputs * kLanes;

// n_rows against a panel of n_outputs.
template <int n_rows>
void tile_row(const float* x, std::int64_t x_stride, const float* panel, std::int64_t n,
              std::int64_t n_outputs, float* sums) {
  std::int64_t o = 0;
  for (; o + kTileOutputs <= n_outputs; o += kTileOutputs) {
    tile<n_rows, kTileOutputs>(x, x_stride, panel + o * kPanelColumns, n, sums + o * kLanes, kSumStride);
  }
  for (; o < n_outputs; ++o) {
    tile<n_rows, 1>(x, x_stride, panel + o * kPanelColumns, n, sums + o * kLanes, kSumStride);
  }
}

// Rows left over once full tiles are done: left < n_rows.
template <int n_rows>
void last_tile_row(std::int64_t left, const float* x, std::int64_t x_stride, const float* panel,
                   std::int64_t n, std::int64_t n_outputs, float* sums) {
  if constexpr (n_rows > 0) {
    if (left == n_rows) {
      return tile_row<n_rows>(x, x_stride, panel, n, n_outputs, sums);
    }
    last_tile_row<n_rows - 1>(left, x, x_stride, panel, n, n_outputs, sums);
  }
}

// Rows [first, end) against the n_outputs ≤ kPanelOutputs from `output` on.
template <DType dtype, typename Out>
void multiply_panel(const Product& product, std::int64_t first, std::int64_t end, std::int64_t output,
                    std::int64_t n_outputs, Out* out) {
  const std::int64_t cols = product.weight.cols;
  float* panel = product.scratch;
  float* sums = panel + kPanelOutputs * kPanelColumns;
  for (std::int64_t i = 0; i < (end - first) * kSumStride; i += kPartLanes) {
    store(sums + i, zero());
  }
  for (std::int64_t c = 0; c < cols; c += kPanelColumns) {
    const std::int64_t n = cols - c < kPanelColumns ? cols - c : kPanelColumns;
    for (std::int64_t o = 0; o < n_outputs; ++o) {
      unpack<dtype>(product.weight, output + o, c, n, panel + o * kPanelColumns);
    }
    const float* x = product.x + first * cols + c;
    std::int64_t r = 0;
    for (; r + kTileRows <= end - first; r += kTileRows) {
      tile_row<kTileRows>(x + r * cols, cols, panel, n, n_outputs, sums + r * kSumStride);
    }
    last_tile_row<kTileRows - 1>(end - first - r, x + r * cols, cols, panel, n, n_outputs,
                                 sums + r * kSumStride);
  }
  for (std::int64_t r = 0; r < end - first; ++r) {
    for (std::int64_t o = 0; o < n_outputs; ++o) {
      Part parts[kParts];
      for (int p = 0; p < kParts; ++p) {
        parts[p] = load(sums + r * kSumStride + o * kLanes + p * kPartLanes);
      }
      write(out + r * product.out_stride + o, sum_lanes(parts));
    }
  }
}

template <DType dtype, typename Out>
void multiply_unpacked(const Product& product, Out* out) {
  for (std::int64_t first = 0; first < product.rows; first += kBlockRows) {
    const std::int64_t end = first + kBlockRows < product.rows ? first + kBlockRows : product.rows;
    for (std::int64_t o = product.begin; o < product.end; o += kPanelOutputs) {
      const std::int64_t n = product.end - o < kPanelOutputs ? product.end - o : kPanelOutputs;
      multiply_panel<dtype>(product, first, end, o, n, out + first * product.out_stride + o - product.begin);
    }
  }
}

template <DType dtype, typename Out>
void multiply_format(const Product& product, Out* out) {
  if (product.rows == 1) {
    multiply_direct<dtype, Out, 1, kDirectOutputs>(product, out);
  } else if (product.rows == kDirectRows) {
    multiply_direct<dtype, Out, kDirectRows, kDirectOutputs / 2>(product, out);
  } else {
    multiply_unpacked<dtype>(product, out);
  }
}

template <typename Out>
void multiply_any(const Product& product, Out* out) {
  switch (product.weight.dtype) {
    case DType::bf16:
      return multiply_format<DType::bf16>(product, out);
    case DType::f16:
      return multiply_format<DType::f16>(product, out);
    case DType::q8:
      return multiply_format<DType::q8>(product, out);
    case DType::q4:
      return multiply_format<DType::q4>(product, out);
    case DType::f32:
      return;  // has kernels of its own
  }
}

void multiply_float(const Product& product, float* out) {
  multiply_any(product, out);
}

void multiply_add_double(const Product& product, double* out) {
  multiply_any(product, out);
}

}  // namespace

const SimdKernels& simd_kernels() {
  static constexpr SimdKernels kKernels{
      CONDENSED_SIMD_NAME, multiply_float, multiply_add_double,
      static_cast<std::size_t>(kPanelOutputs * kPanelColumns + kBlockRows * kSumStride)};
  return kKernels;
}

}  // namespace condensed::kernels::CONDENSED_SIMD
