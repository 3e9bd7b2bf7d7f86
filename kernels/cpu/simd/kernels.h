#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

/// Kernels that exist once for each instruction set, chosen at run time.
namespace condensed::kernels {

/// Outputs [begin, end) of a product x · weightᵀ.
struct Product {
  MatrixView weight;
  const float* x = nullptr;  // [rows, weight.cols]
  std::int64_t rows = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t out_stride = 0;  // elements between the rows of the output
  float* scratch = nullptr;     // [product_scratch_floats], aligned to 64 bytes
};

struct SimdKernels {
  const char* name;
  /// out[r · out_stride + o - begin] = the product (float) or += the product (double), for weights narrower
  /// than float32, summed in float32 in an order that follows from weight.cols alone: lane l of sixteen adds
  /// elements l, l + 16, …
  void (*multiply)(const Product& product, float* out);
  void (*multiply_add)(const Product& product, double* out);
  std::size_t product_scratch_floats;
};

namespace avx2 {
const SimdKernels& simd_kernels();
}
namespace avx512 {
const SimdKernels& simd_kernels();
}

}  // namespace condensed::kernels
