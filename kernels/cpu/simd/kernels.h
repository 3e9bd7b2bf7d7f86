#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

/// Kernels that exist once for each instruction set, chosen at run time.
namespace condensed::kernels {

/// Rows of activations as 16-bit integers in [-32767, 32767] with a scale for every group of a quantised
/// format: element c is integer c · scales[c / group], good to 2^-16 of the group's largest. Within a group
/// integers lie in an order of the instruction set's own.
struct Activations {
  const std::int16_t* integers = nullptr;  // [rows, integer_stride], zeros after the last column
  std::int64_t integer_stride = 0;         // a multiple of the group
  const float* scales = nullptr;           // [rows, scale_stride]
  std::int64_t scale_stride = 0;
};

/// Outputs [begin, end) of a product x · weightᵀ.
struct Product {
  MatrixView weight;
  const float* x = nullptr;  // [rows, weight.cols]
  Activations activations;   // x again, for quantised weights
  std::int64_t rows = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t out_stride = 0;  // elements between the rows of the output
};

/// The query heads that share one key-value head, in one row. scratch: with head_dim rounded up to 16 lanes,
/// 3 · group + kAttentionTile rows of that, kAttentionTile + 2 numbers for each head of the group.
struct AttentionGroup {
  const float* queries_stream = nullptr;  // [group, head_dim]
  const float* queries_sink = nullptr;    // [group, head_dim]
  const KvRun* runs = nullptr;            // [n_runs]
  std::int64_t n_runs = 0;
  std::int64_t kv_head = 0;
  std::int64_t group = 0;
  std::int64_t head_dim = 0;
  float* out = nullptr;  // [group, head_dim]
};

constexpr std::int64_t kAttentionTile = 32;  // tokens looked at together

/// Of one instruction set; called for one thread and range. A product goes to
/// out[r · out_stride + o - begin], which it becomes (float) or is added to (double).
///
/// Every sum has one order that follows from its length alone and is the same in every set: with f32 weights
/// eight lanes of float64, with others sixteen of float32. Lane l adds elements l, l + 8 (l + 16), …, absent
/// ones counting as zero; then lanes are added pairwise.
struct SimdKernels {
  const char* name;
  void (*multiply_f32)(const Product& product, float* out);  // summed in float64
  void (*multiply_add_f32)(const Product& product, double* out);
  void (*multiply_half)(const Product& product, float* out);  // bf16 and f16 weights
  void (*multiply_add_half)(const Product& product, double* out);
  void (*multiply_quantised)(const Product& product, float* out);  // q8 and q4 weights
  void (*multiply_add_quantised)(const Product& product, double* out);
  /// One row of Activations for q8 or q4 weights: integers: [padded_cols], scales: [padded_cols / group].
  void (*quantise_activations)(const float* x, std::int64_t cols, DType weights, std::int16_t* integers,
                               std::int64_t padded_cols, float* scales);
  void (*attend)(const AttentionGroup& heads, float* scratch);  // see AttentionGroup
  /// out = x / sqrt(mean(x²) + epsilon) · weight; all [n].
  void (*rms_norm)(const double* x, const float* weight, std::int64_t n, float epsilon, float* out);
  /// One head: x, out: [head_dim], may be the same. angles: head_dim/2 cosines, then as many sines.
  void (*rotate)(const float* x, const float* angles, std::int64_t head_dim, float* out);
  /// out = gate · sigmoid(gate) · up; [n].
  void (*swiglu)(const double* gate, const double* up, std::int64_t n, float* out);
};

namespace avx2 {
const SimdKernels& simd_kernels();
}
namespace avx512 {
const SimdKernels& simd_kernels();
}
namespace avx512vnni {
const SimdKernels& simd_kernels();
}
namespace neon {
const SimdKernels& simd_kernels();
}
namespace neondot {
const SimdKernels& simd_kernels();
}

}  // namespace condensed::kernels
