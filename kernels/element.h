#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/dtype.h"
#include "kernels/float_formats.h"

/// One number of a stored array, which may lie at any address: safetensors aligns nothing.
namespace condensed::kernels {

inline float load_element(DType dtype, const std::byte* data, std::int64_t index) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, data + index * 2, 2);
  return dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

inline void store_element(DType dtype, std::byte* data, std::int64_t index, float value) {
  if (dtype == DType::f32) {
    std::memcpy(data + index * 4, &value, 4);
    return;
  }
  const std::uint16_t bits = dtype == DType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  std::memcpy(data + index * 2, &bits, 2);
}

}  // namespace condensed::kernels
