#pragma once

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the names are CUDA's.

#include "kernels/float_formats.h"

/// The conversions of CUDA's header of this name that our kernels use.

struct __half {
  unsigned short bits;
};

inline __half __ushort_as_half(unsigned short bits) {
  return {bits};
}
inline unsigned short __half_as_ushort(__half value) {
  return value.bits;
}
inline float __half2float(__half value) {
  return condensed::kernels::f16_to_f32(value.bits);
}
inline __half __float2half_rn(float value) {
  return {condensed::kernels::f32_to_f16(value)};
}

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
