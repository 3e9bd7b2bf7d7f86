#include "tests/kernels/cuda_emulation/emulated_backend.h"

#include <cmath>

#include "kernels/cuda/device_backend.h"
#include "kernels/float_formats.h"

namespace condensed::emulation {

namespace {

using kernels::cuda::Blas;
using kernels::cuda::Gemm;

void multiply_now(const Gemm& gemm) {
  const auto number = [&](std::uint16_t bits) {
    return gemm.bf16 != 0 ? kernels::bf16_to_f32(bits) : kernels::f16_to_f32(bits);
  };
  for (std::int64_t r = 0; r < gemm.rows; ++r) {
    for (std::int64_t o = 0; o < gemm.outputs; ++o) {
      float sum = 0;
      for (std::int64_t k = 0; k < gemm.depth; ++k) {
        sum += number(gemm.x[r * gemm.depth + k]) * number(gemm.weights[o * gemm.depth + k]);
      }
      gemm.out[r * gemm.outputs + o] = sum;
    }
  }
}

/// In the stream's turn, as the library does it.
class EmulatedBlas final : public Blas {
 public:
  void multiply(const Gemm& gemm, cudaStream_t stream) override {
    enqueue(stream, [gemm] { multiply_now(gemm); });
  }
};

}  // namespace

std::unique_ptr<kernels::Backend> make_emulated_backend(int device) {
  // Regions to the byte: an address sanitizer then sees every end.
  return std::make_unique<kernels::cuda::DeviceBackend>(
      device, [] { return std::make_unique<EmulatedBlas>(); }, /*region_bytes=*/1);
}

}  // namespace condensed::emulation
