#pragma once

#include <cstddef>
#include <span>

#include "kernels/backend.h"
#include "kernels/cuda/kernel_arguments.h"

/// Stored rows taken apart into the planes that the device reads (kernel_arguments.h), on the host.
namespace condensed::kernels::cuda {

/// The planes of a matrix, without addresses.
Planes planes_of(DType dtype, std::int64_t rows, std::int64_t cols);

/// Bytes that n rows take in each plane.
struct PlaneBytes {
  std::size_t numbers = 0;
  std::size_t factors = 0;
  std::size_t scales = 0;

  std::size_t total() const { return numbers + factors + scales; }
};
PlaneBytes plane_bytes(const Planes& planes, std::int64_t n_rows);

/// Rows first … first + n_rows of the matrix, one plane after the other as plane_bytes() says. out:
/// [plane_bytes(planes, n_rows).total()]
void split_rows(const MatrixView& view, const Planes& planes, std::int64_t first, std::int64_t n_rows,
                std::span<std::byte> out);

}  // namespace condensed::kernels::cuda
