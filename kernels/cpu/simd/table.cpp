#include "kernels/cpu/simd/kernels.h"

namespace condensed::kernels::CONDENSED_SIMD {

void multiply_half(const Product& product, float* out);
void multiply_half(const Product& product, double* out);

void multiply_quantised(const Product& product, float* out);
void multiply_quantised(const Product& product, double* out);

void attend(const AttentionGroup& heads, float* scratch);

const SimdKernels& simd_kernels() {
  static constexpr SimdKernels kKernels{.name = CONDENSED_SIMD_NAME,
                                        .multiply_half = multiply_half,
                                        .multiply_add_half = multiply_half,
                                        .multiply_quantised = multiply_quantised,
                                        .multiply_add_quantised = multiply_quantised,
                                        .attend = attend};
  return kKernels;
}

}  // namespace condensed::kernels::CONDENSED_SIMD
