#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

void store_lanes(float* out, std::int64_t n, __m256 values) {
  store_first(out, n, values);
}

void store_lanes(double* out, std::int64_t n, __m256 values) {
  alignas(32) float lanes[kLanes];
  _mm256_store_ps(lanes, values);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<double>(lanes[i]);
  }
}

template <DType dtype, typename Out>
void convert_all(const std::byte* data, std::int64_t n, Out* out) {
  constexpr std::int64_t kBytes = Stored<dtype>::kBytes;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store_lanes(out + i, kLanes, load_stored<dtype>(data + i * kBytes));
  }
  if (i < n) {
    store_lanes(out + i, n - i, load_stored_first<dtype>(data + i * kBytes, n - i));
  }
}

template <typename Out>
void convert_any(DType dtype, const std::byte* data, std::int64_t n, Out* out) {
  switch (dtype) {
    case DType::f32:
      return convert_all<DType::f32>(data, n, out);
    case DType::bf16:
      return convert_all<DType::bf16>(data, n, out);
    case DType::f16:
      return convert_all<DType::f16>(data, n, out);
  }
}

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

void convert(DType dtype, const std::byte* data, std::int64_t n, float* out) {
  convert_any(dtype, data, n, out);
}

void convert(DType dtype, const std::byte* data, std::int64_t n, double* out) {
  convert_any(dtype, data, n, out);
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
