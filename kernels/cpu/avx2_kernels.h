#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/simd/kernels.h"

/// What every vector backend does with AVX2, one call per thread and range. The files behind it are compiled
/// with AVX2, FMA and F16C: they use intrinsics and plain pointers only, since an inline function of the
/// standard library, compiled there, could replace the one that the rest of the program runs on older
/// processors.
///
/// Every sum has one fixed order that follows from its length alone, whatever the blocking: lane l of one
/// 8-lane accumulator adds elements l, l + 8, l + 16, …, absent elements counting as zero, then the lanes are
/// added pairwise. What would be faster in wider registers is in simd/.
namespace condensed::kernels::avx2 {

/// out[r · out_stride + o - begin] = (float) or += (double) the product with f32 weights, summed in float64:
/// who keeps weights in 32 bits wants the digits, and the memory is the limit all the same.
void multiply_f32(const Product& product, float* out);
void multiply_f32(const Product& product, double* out);

/// One row of Activations: integers: [padded_cols], scales: [padded_cols / group]; group: a multiple of 16.
void quantise_activations(const float* x, std::int64_t cols, std::int64_t group, std::int16_t* integers,
                          std::int64_t padded_cols, float* scales);

/// out = x / sqrt(mean(x²) + epsilon) · weight; all [n].
void rms_norm(const double* x, const float* weight, std::int64_t n, float epsilon, float* out);

/// One head: x, out: [head_dim], may be the same. angles: head_dim/2 cosines, then as many sines.
void rotate(const float* x, const float* angles, std::int64_t head_dim, float* out);

/// out = gate · sigmoid(gate) · up; [n].
void swiglu(const double* gate, const double* up, std::int64_t n, float* out);

}  // namespace condensed::kernels::avx2
