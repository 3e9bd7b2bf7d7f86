#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/device_matrix.h"
#include "kernels/cuda/device_queue.h"

namespace condensed::kernels::cuda {

/// Products with weight matrices: own kernels for few rows and for float32, the library for the rest.
class DeviceProducts {
 public:
  explicit DeviceProducts(DeviceQueue& queue) : queue_(queue) {}

  /// x: [rows, weight.cols]; out as the epilogue says, [rows, weight.rows]. Not swiglu.
  void product(const DeviceMatrix& weight, std::span<const float> x, Epilogue epilogue, void* out);
  void swiglu(const DeviceMatrix& gate, const DeviceMatrix& up, std::span<const float> x, float* out);
  /// The first of these that can be done at once, which they are: how many. 0: none, since their rows are too
  /// many.
  std::size_t project(std::span<const Projection> projections, std::span<const float> x,
                      const Angles& angles);
  /// Products of fewer rows are laid out as for that many.
  void keep_layout(std::int64_t rows) { kept_rows_ = rows; }

 private:
  /// What is multiplied: a alone, or a the gate of b.
  struct Pair {
    const DeviceMatrix& a;
    const DeviceMatrix* b = nullptr;
  };

  std::int64_t grid_rows(std::int64_t rows) const;
  bool small(DType dtype, std::int64_t rows) const;
  void multiply(const Pair& weights, std::span<const float> x, Epilogue epilogue, void* out);
  void small_product(const Pair& weights, const float* x, std::int64_t rows, Epilogue epilogue, void* out);
  /// n rows, laid out for `grid`.
  struct TileRows {
    std::int64_t n = 0;
    std::int64_t grid = 0;
    bool two_parts = false;
  };
  void large_product(const Pair& weights, const float* x, const TileRows& rows, Epilogue epilogue,
                     std::byte* out);
  void tile_product(const DeviceMatrix& weight, std::int64_t first_output, std::int64_t n_outputs,
                    std::int64_t rows, const std::uint16_t* x, float* out);

  DeviceQueue& queue_;
  std::int64_t kept_rows_ = 0;
  Scratch activations_;
  Scratch factors_;
  Scratch dequantised_;
  Scratch products_;
  Scratch gated_;
};

}  // namespace condensed::kernels::cuda
