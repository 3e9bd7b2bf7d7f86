#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace condensed::kernels {

/// Number formats of weights and cached keys and values. Arithmetic is float32 throughout.
enum class DType : std::uint8_t { f32, bf16, f16 };

constexpr std::size_t bytes_of(DType dtype) {
  return dtype == DType::f32 ? 4 : 2;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
  }
  return "?";
}

}  // namespace condensed::kernels
