#pragma once

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the names are CUDA's.

#include "kernels/float_formats.h"

/// The conversions of CUDA's header of this name that our kernels use.

struct __nv_bfloat16 {
  unsigned short bits;
};

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) {
  return value.bits;
}
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  return {condensed::kernels::f32_to_bf16(value)};
}

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
