#include "kernels/cuda/stored_planes.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace condensed::kernels::cuda {

namespace {

std::int64_t rounded_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

Planes planes_of(DType dtype, std::int64_t rows, std::int64_t cols) {
  Planes planes{.rows = static_cast<std::int32_t>(rows), .cols = static_cast<std::int32_t>(cols)};
  // Whole fragments of eight or sixteen numbers, and whole vectors.
  planes.number_stride = is_quantised(dtype) ? rounded_up(number_bytes(dtype, cols), 16)
                                             : number_bytes(dtype, rounded_up(cols, 8));
  if (dtype == DType::q8) {
    planes.scale_stride = static_cast<std::int32_t>(2 * ((cols + kQ8Group - 1) / kQ8Group));
  } else if (dtype == DType::q4) {
    planes.factor_stride = static_cast<std::int32_t>(rounded_up(cols, kQ4Block) / kQ4FactorGroup);
    planes.scale_stride = static_cast<std::int32_t>(2 * ((cols + kQ4Group - 1) / kQ4Group));
  }
  return planes;
}

PlaneBytes plane_bytes(const Planes& planes, std::int64_t n_rows) {
  const auto padded = [&](std::int64_t stride) {
    return static_cast<std::size_t>(rounded_up(stride * n_rows, 16));
  };
  return {.numbers = padded(planes.number_stride),
          .factors = padded(planes.factor_stride),
          .scales = padded(planes.scale_stride)};
}

void split_rows(const MatrixView& view, const Planes& planes, std::int64_t first, std::int64_t n_rows,
                std::span<std::byte> out) {
  const PlaneBytes bytes = plane_bytes(planes, n_rows);
  assert(out.size() == bytes.total());
  std::ranges::fill(out, std::byte{0});
  const std::int64_t n_numbers = number_bytes(view.dtype, view.cols);
  const std::int64_t n_factors =
      view.dtype == DType::q4 ? (view.cols + kQ4FactorGroup - 1) / kQ4FactorGroup : 0;
  for (std::int64_t r = 0; r < n_rows; ++r) {
    const std::byte* from = view.row(first + r);
    std::byte* to = out.data();
    const auto take = [&](std::int64_t n, std::int64_t stride, std::size_t plane) {
      std::memcpy(to + r * stride, from, static_cast<std::size_t>(n));
      from += n;
      to += plane;
    };
    take(n_numbers, planes.number_stride, bytes.numbers);
    take(n_factors, planes.factor_stride, bytes.factors);
    take(planes.scale_stride, planes.scale_stride, bytes.scales);
  }
}

}  // namespace condensed::kernels::cuda
