#include "kernels/cpu/simd/kernels.h"

namespace condensed::kernels::CONDENSED_SIMD {

void multiply_f32(const Product& product, float* out);
void multiply_f32(const Product& product, double* out);

void multiply_half(const Product& product, float* out);
void multiply_half(const Product& product, double* out);

void multiply_quantised(const Product& product, float* out);
void multiply_quantised(const Product& product, double* out);

void quantise_activations(const float* x, std::int64_t cols, DType weights, std::int16_t* integers,
                          std::int64_t padded_cols, float* scales);
void attend(const AttentionGroup& heads, float* scratch);
void rms_norm(const double* x, const float* weight, std::int64_t n, float epsilon, float* out);
void rotate(const float* x, const float* angles, std::int64_t head_dim, float* out);
void swiglu(const double* gate, const double* up, std::int64_t n, float* out);

const SimdKernels& simd_kernels() {
  static constexpr SimdKernels kKernels{.name = CONDENSED_SIMD_NAME,
                                        .multiply_f32 = multiply_f32,
                                        .multiply_add_f32 = multiply_f32,
                                        .multiply_half = multiply_half,
                                        .multiply_add_half = multiply_half,
                                        .multiply_quantised = multiply_quantised,
                                        .multiply_add_quantised = multiply_quantised,
                                        .quantise_activations = quantise_activations,
                                        .attend = attend,
                                        .rms_norm = rms_norm,
                                        .rotate = rotate,
                                        .swiglu = swiglu};
  return kKernels;
}

}  // namespace condensed::kernels::CONDENSED_SIMD
