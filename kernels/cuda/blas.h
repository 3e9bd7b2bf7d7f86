#pragma once

#include <cstdint>
#include <cuda_runtime.h>
#include <memory>

namespace condensed::kernels::cuda {

/// out[r, o] = x[r] · weights[o], summed in float32. x: [rows, depth], weights: [outputs, depth], out: [rows,
/// outputs]; depth is a multiple of 8.
struct Gemm {
  const std::uint16_t* weights = nullptr;
  const std::uint16_t* x = nullptr;
  float* out = nullptr;
  std::int32_t outputs = 0;
  std::int32_t rows = 0;
  std::int32_t depth = 0;
  std::int32_t bf16 = 0;  // of weights and x; otherwise f16
};

/// Products of large matrices.
class Blas {
 public:
  Blas() = default;
  virtual ~Blas() = default;
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  /// Can be captured. Throws DeviceError.
  virtual void multiply(const Gemm& gemm, cudaStream_t stream) = 0;
};

/// cuBLAS of the current device, looked for at run time, so that one program runs with and without it.
/// Throws DeviceError, saying where it looked.
std::unique_ptr<Blas> load_cublas();

}  // namespace condensed::kernels::cuda
