#pragma once

#include <arm_neon.h>
#include <cstdint>

/// Eight lanes of float32, and four of float64, in pairs of NEON's registers: see eight.h.
namespace condensed::kernels::CONDENSED_SIMD {

struct Eight {
  float32x4_t low;
  float32x4_t high;
};
struct EightInts {  // of 32 bits
  int32x4_t low;
  int32x4_t high;
};
struct FourDoubles {
  float64x2_t low;
  float64x2_t high;
};

static inline Eight eight_of(float x) {
  return {vdupq_n_f32(x), vdupq_n_f32(x)};
}
static inline Eight broadcast_eight(const float* x) {
  return eight_of(*x);
}
static inline Eight load_eight(const float* x) {
  return {vld1q_f32(x), vld1q_f32(x + 4)};
}
static inline Eight load_first_eight(const float* x, std::int64_t n) {
  if (n >= 8) {
    return load_eight(x);
  }
  float lanes[8] = {};
  if (n > 0) {
    __builtin_memcpy(lanes, x, static_cast<std::size_t>(n) * sizeof(float));
  }
  return load_eight(lanes);
}
static inline void store(float* x, Eight value) {
  vst1q_f32(x, value.low);
  vst1q_f32(x + 4, value.high);
}
static inline void store_first(float* x, std::int64_t n, Eight value) {
  if (n >= 8) {
    store(x, value);
  } else if (n > 0) {
    float lanes[8];
    store(lanes, value);
    __builtin_memcpy(x, lanes, static_cast<std::size_t>(n) * sizeof(float));
  }
}
static inline float first(Eight x) {
  return vgetq_lane_f32(x.low, 0);
}

static inline Eight add(Eight a, Eight b) {
  return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}
static inline Eight subtract(Eight a, Eight b) {
  return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)};
}
static inline Eight multiply(Eight a, Eight b) {
  return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
static inline Eight divide(Eight a, Eight b) {
  return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)};
}
static inline Eight multiply_add(Eight a, Eight b, Eight c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
static inline Eight multiply_subtract(Eight a, Eight b, Eight c) {
  return {vfmaq_f32(vnegq_f32(c.low), a.low, b.low), vfmaq_f32(vnegq_f32(c.high), a.high, b.high)};
}
static inline Eight subtract_product(Eight c, Eight a, Eight b) {
  return {vfmsq_f32(c.low, a.low, b.low), vfmsq_f32(c.high, a.high, b.high)};
}
static inline Eight max(Eight a, Eight b) {
  return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)};  // NaN if one is
}
static inline Eight min(Eight a, Eight b) {
  return {vminq_f32(a.low, b.low), vminq_f32(a.high, b.high)};
}
static inline Eight select_less(Eight x, Eight limit, Eight less, Eight otherwise) {
  return {vbslq_f32(vcltq_f32(x.low, limit.low), less.low, otherwise.low),
          vbslq_f32(vcltq_f32(x.high, limit.high), less.high, otherwise.high)};
}
static inline Eight round_to_whole(Eight x) {
  return {vrndnq_f32(x.low), vrndnq_f32(x.high)};
}
static inline float32x4_t power_of_two(float32x4_t n) {
  const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
  return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
}
static inline Eight power_of_two(Eight n) {
  return {power_of_two(n.low), power_of_two(n.high)};
}
static inline float square_root(float x) {
  return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
}
static inline double square_root(double x) {
  return vgetq_lane_f64(vsqrtq_f64(vdupq_n_f64(x)), 0);
}

static inline float sum(Eight x) {
  const float32x4_t pairs = vpaddq_f32(x.low, x.high);
  return vaddvq_f32(pairs);  // pairwise
}
static inline void store_sums(float* x, Eight a, Eight b, Eight c, Eight d) {
  const float32x4_t a_and_b = vpaddq_f32(vpaddq_f32(a.low, a.high), vpaddq_f32(b.low, b.high));
  const float32x4_t c_and_d = vpaddq_f32(vpaddq_f32(c.low, c.high), vpaddq_f32(d.low, d.high));
  vst1q_f32(x, vpaddq_f32(a_and_b, c_and_d));
}
static inline float largest(Eight x) {
  return vmaxvq_f32(vmaxq_f32(x.low, x.high));
}

static inline EightInts no_magnitudes() {
  return {vdupq_n_s32(0), vdupq_n_s32(0)};
}
static inline EightInts larger_magnitudes(EightInts so_far, Eight x) {
  return {vmaxq_s32(so_far.low, vreinterpretq_s32_f32(vabsq_f32(x.low))),
          vmaxq_s32(so_far.high, vreinterpretq_s32_f32(vabsq_f32(x.high)))};
}
static inline float largest_magnitude(EightInts bits) {
  const std::int32_t largest = vmaxvq_s32(vmaxq_s32(bits.low, bits.high));
  return vgetq_lane_f32(vreinterpretq_f32_s32(vdupq_n_s32(largest)), 0);
}
static inline void store_rounded(std::int16_t* out, Eight low, Eight high) {
  vst1q_s16(out, vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(low.low)), vqmovn_s32(vcvtnq_s32_f32(low.high))));
  vst1q_s16(out + 8,
            vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(high.low)), vqmovn_s32(vcvtnq_s32_f32(high.high))));
}

static inline FourDoubles four_of(double x) {
  return {vdupq_n_f64(x), vdupq_n_f64(x)};
}
static inline FourDoubles load(const double* x) {
  return {vld1q_f64(x), vld1q_f64(x + 2)};
}
static inline void store(double* x, FourDoubles value) {
  vst1q_f64(x, value.low);
  vst1q_f64(x + 2, value.high);
}
static inline FourDoubles add(FourDoubles a, FourDoubles b) {
  return {vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)};
}
static inline FourDoubles subtract(FourDoubles a, FourDoubles b) {
  return {vsubq_f64(a.low, b.low), vsubq_f64(a.high, b.high)};
}
static inline FourDoubles multiply(FourDoubles a, FourDoubles b) {
  return {vmulq_f64(a.low, b.low), vmulq_f64(a.high, b.high)};
}
static inline FourDoubles divide(FourDoubles a, FourDoubles b) {
  return {vdivq_f64(a.low, b.low), vdivq_f64(a.high, b.high)};
}
static inline FourDoubles multiply_add(FourDoubles a, FourDoubles b, FourDoubles c) {
  return {vfmaq_f64(c.low, a.low, b.low), vfmaq_f64(c.high, a.high, b.high)};
}
static inline FourDoubles low_half(Eight x) {
  return {vcvt_f64_f32(vget_low_f32(x.low)), vcvt_high_f64_f32(x.low)};
}
static inline FourDoubles high_half(Eight x) {
  return {vcvt_f64_f32(vget_low_f32(x.high)), vcvt_high_f64_f32(x.high)};
}
static inline Eight narrowed(FourDoubles low, FourDoubles high) {
  return {vcvt_high_f32_f64(vcvt_f32_f64(low.low), low.high),
          vcvt_high_f32_f64(vcvt_f32_f64(high.low), high.high)};
}
static inline double sum(FourDoubles x) {
  return vaddvq_f64(vaddq_f64(x.low, x.high));
}

}  // namespace condensed::kernels::CONDENSED_SIMD
