#pragma once

#include <cstdint>

#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/lanes.h"

/// How a product is cut into tiles whose sums stay in registers, whatever the weights are.
namespace condensed::kernels::CONDENSED_SIMD {

/// As many sums as registers hold beside the operands, whatever the weights are (measured,
/// docs/performance.md).
constexpr int kTileRows = kRegisters == 32 ? 6 : 3;
constexpr int kTileOutputs = 4;

/// How far ahead weights are asked for. The outputs of a tile lie far apart, so that each is one long stream.
constexpr std::int64_t kPrefetchBytes = 1024;

template <int n_rows, int n_outputs, int n_parts>
[[gnu::always_inline]] static inline void clear(Part (&sums)[n_rows][n_outputs][n_parts]) {
#pragma GCC unroll 8
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
#pragma GCC unroll 2
      for (int p = 0; p < n_parts; ++p) {
        sums[r][o][p] = zero();
      }
    }
  }
}

static inline void write(float* out, float product) {
  *out = product;
}

static inline void write(double* out, float product) {
  *out += static_cast<double>(product);
}

/// Tile<dtype, n_rows, n_outputs>(product, first_row, first_output, step).sum<p_begin, p_end>(sums) computes
/// the given parts of the lanes of n_rows × n_outputs sums.
template <template <DType, int, int> class Tile, DType dtype, int n_rows, int n_outputs, typename Out>
static void multiply_tile(const Product& product, std::int64_t row, std::int64_t output, std::int64_t step,
                          Out* out) {
  Tile<dtype, n_rows, n_outputs> tile(product, row, output, step);
  Part sums[n_rows][n_outputs][kParts];
  if constexpr (n_rows == 1 || kParts == 1) {
    tile.template sum<0, kParts>(sums);
  } else {
    // One part after the other: the weights are in the first-level cache when they are read again.
    Part low[n_rows][n_outputs][1];
    Part high[n_rows][n_outputs][1];
    tile.template sum<0, 1>(low);
    tile.template sum<1, 2>(high);
    for (int r = 0; r < n_rows; ++r) {
      for (int o = 0; o < n_outputs; ++o) {
        sums[r][o][0] = low[r][o][0];
        sums[r][o][kParts - 1] = high[r][o][0];
      }
    }
  }
  Out* at = out + row * product.out_stride + output - product.begin;
#pragma GCC unroll 8
  for (int r = 0; r < n_rows; ++r) {
#pragma GCC unroll 4
    for (int o = 0; o < n_outputs; ++o) {
      write(at + r * product.out_stride + o * step, sum_lanes(sums[r][o]));
    }
  }
}

/// The rows from `row` on that full tiles left over: fewer than n_rows.
template <template <DType, int, int> class Tile, DType dtype, int n_rows, int n_outputs, typename Out>
static void multiply_last_rows(const Product& product, std::int64_t row, std::int64_t output,
                               std::int64_t step, Out* out) {
  if constexpr (n_rows > 1) {
    if (product.rows - row == n_rows - 1) {
      return multiply_tile<Tile, dtype, n_rows - 1, n_outputs>(product, row, output, step, out);
    }
    multiply_last_rows<Tile, dtype, n_rows - 1, n_outputs>(product, row, output, step, out);
  }
}

/// All rows against n_outputs outputs.
template <template <DType, int, int> class Tile, DType dtype, int n_outputs, typename Out>
static void multiply_outputs(const Product& product, std::int64_t output, std::int64_t step, Out* out) {
  std::int64_t row = 0;
  for (; row + kTileRows <= product.rows; row += kTileRows) {
    multiply_tile<Tile, dtype, kTileRows, n_outputs>(product, row, output, step, out);
  }
  multiply_last_rows<Tile, dtype, kTileRows, n_outputs>(product, row, output, step, out);
}

template <template <DType, int, int> class Tile, DType dtype, typename Out>
static void multiply_tiled(const Product& product, Out* out) {
  const std::int64_t step = (product.end - product.begin) / kTileOutputs;
  for (std::int64_t i = 0; i < step; ++i) {
    multiply_outputs<Tile, dtype, kTileOutputs>(product, product.begin + i, step, out);
  }
  std::int64_t output = product.begin + step * kTileOutputs;
  for (; output < product.end; ++output) {
    multiply_outputs<Tile, dtype, 1>(product, output, 0, out);
  }
}

}  // namespace condensed::kernels::CONDENSED_SIMD
