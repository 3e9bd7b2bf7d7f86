#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/kernel_arguments.h"

namespace condensed::kernels::cuda {

/// A weight matrix in the device's memory.
class DeviceMatrix final : public Matrix {
 public:
  /// memory: what the planes point into.
  DeviceMatrix(DType dtype, const Planes& planes, Memory memory)
      : Matrix(planes.rows, planes.cols), dtype_(dtype), planes_(planes), memory_(std::move(memory)) {}

  DType dtype() const { return dtype_; }
  const Planes& planes() const { return planes_; }
  std::size_t bytes() const override { return static_cast<std::size_t>(rows() * row_bytes(dtype_, cols())); }

  /// `matrix` must come from the device's load_matrix().
  static const DeviceMatrix& of(const Matrix& matrix);

 private:
  DType dtype_;
  Planes planes_;
  Memory memory_;
};

}  // namespace condensed::kernels::cuda
