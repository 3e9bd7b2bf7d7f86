#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

// Four elements. The sigmoid is good to float32, the products are not rounded in between.
__m128 gate_lanes(__m256d gate, __m256d up) {
  const __m256 negated = _mm256_castps128_ps256(_mm256_cvtpd_ps(_mm256_sub_pd(_mm256_setzero_pd(), gate)));
  const __m256d power = _mm256_cvtps_pd(_mm256_castps256_ps128(exp_lanes(negated)));
  const __m256d silu = _mm256_div_pd(gate, _mm256_add_pd(_mm256_set1_pd(1.0), power));
  return _mm256_cvtpd_ps(_mm256_mul_pd(silu, up));
}

// Eight elements of each half of a head, the first n of them counting.
struct Halves {
  __m256 low;
  __m256 high;
};

Halves rotate_lanes(Halves x, __m256 cosines, __m256 sines) {
  return {_mm256_fmsub_ps(x.low, cosines, _mm256_mul_ps(x.high, sines)),
          _mm256_fmadd_ps(x.high, cosines, _mm256_mul_ps(x.low, sines))};
}

}  // namespace

void quantise_activations(const float* x, std::int64_t cols, std::int64_t group, std::int16_t* integers,
                          std::int64_t padded_cols, float* scales) {
  constexpr float kLimit = 32767;
  constexpr float kSmallest =
      1e-30F;  // below, a group counts as zeros: the inverse of its scale would overflow
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (std::int64_t first = 0; first < padded_cols; first += group) {
    // As integers, so that a NaN is the largest of all and shows in the scale.
    __m256i largest = _mm256_setzero_si256();
    for (std::int64_t i = first; i < first + group; i += kLanes) {
      const __m256i bits = _mm256_castps_si256(load_first(x + i, cols - i));
      largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, magnitude));
    }
    largest = _mm256_max_epi32(largest, _mm256_permute2x128_si256(largest, largest, 1));
    largest = _mm256_max_epi32(largest, _mm256_shuffle_epi32(largest, 0x4e));
    largest = _mm256_max_epi32(largest, _mm256_shuffle_epi32(largest, 0xb1));
    const float limit = _mm256_cvtss_f32(_mm256_castsi256_ps(largest));
    *scales++ = limit / kLimit;
    const __m256 inverse = _mm256_set1_ps(limit < kSmallest ? 0.0F : kLimit / limit);
    for (std::int64_t i = first; i < first + group; i += 2 * kLanes) {
      const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(load_first(x + i, cols - i), inverse));
      const __m256i high =
          _mm256_cvtps_epi32(_mm256_mul_ps(load_first(x + i + kLanes, cols - i - kLanes), inverse));
      const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(integers + i), packed);
    }
  }
}

void rms_norm(const double* x, const float* weight, std::int64_t n, float epsilon, float* out) {
  constexpr std::int64_t kDoubles = 4;
  __m256d squares = _mm256_setzero_pd();
  std::int64_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles) {
    const __m256d value = _mm256_loadu_pd(x + i);
    squares = _mm256_fmadd_pd(value, value, squares);
  }
  alignas(32) double lanes[kDoubles];
  _mm256_store_pd(lanes, squares);
  double sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (; i < n; ++i) {
    sum += x[i] * x[i];
  }
  const double mean = sum / static_cast<double>(n) + static_cast<double>(epsilon);
  const double scale = 1.0 / _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(mean)));
  for (i = 0; i + kDoubles <= n; i += kDoubles) {
    const __m256d scaled = _mm256_mul_pd(_mm256_loadu_pd(x + i), _mm256_set1_pd(scale));
    const __m256d weighted = _mm256_mul_pd(scaled, _mm256_cvtps_pd(_mm_loadu_ps(weight + i)));
    _mm_storeu_ps(out + i, _mm256_cvtpd_ps(weighted));
  }
  for (; i < n; ++i) {
    out[i] = static_cast<float>(x[i] * scale * static_cast<double>(weight[i]));
  }
}

void rotate(const float* x, const float* angles, std::int64_t head_dim, float* out) {
  const std::int64_t half = head_dim / 2;
  std::int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Halves turned = rotate_lanes({_mm256_loadu_ps(x + i), _mm256_loadu_ps(x + half + i)},
                                       _mm256_loadu_ps(angles + i), _mm256_loadu_ps(angles + half + i));
    _mm256_storeu_ps(out + i, turned.low);
    _mm256_storeu_ps(out + half + i, turned.high);
  }
  if (const std::int64_t left = half - i; left > 0) {
    const Halves turned = rotate_lanes({load_first(x + i, left), load_first(x + half + i, left)},
                                       load_first(angles + i, left), load_first(angles + half + i, left));
    store_first(out + i, left, turned.low);
    store_first(out + half + i, left, turned.high);
  }
}

void swiglu(const double* gate, const double* up, std::int64_t n, float* out) {
  constexpr std::int64_t kDoubles = 4;
  std::int64_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles) {
    _mm_storeu_ps(out + i, gate_lanes(_mm256_loadu_pd(gate + i), _mm256_loadu_pd(up + i)));
  }
  for (; i < n; ++i) {
    out[i] = _mm_cvtss_f32(gate_lanes(_mm256_set1_pd(gate[i]), _mm256_set1_pd(up[i])));
  }
}

}  // namespace condensed::kernels::avx2
