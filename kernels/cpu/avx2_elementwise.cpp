#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

template <DType dtype>
void convert_all(const std::byte* data, std::int64_t n, float* out) {
  constexpr std::int64_t kBytes = Stored<dtype>::kBytes;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    _mm256_storeu_ps(out + i, load_stored<dtype>(data + i * kBytes));
  }
  if (i < n) {
    store_first(out + i, n - i, load_stored_first<dtype>(data + i * kBytes, n - i));
  }
}

__m256 gate_lanes(__m256 gate, __m256 up) {
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 negated = _mm256_xor_ps(gate, _mm256_set1_ps(-0.0F));
  const __m256 silu = _mm256_div_ps(gate, _mm256_add_ps(one, exp_lanes(negated)));
  return _mm256_mul_ps(silu, up);
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
  switch (dtype) {
    case DType::f32:
      return convert_all<DType::f32>(data, n, out);
    case DType::bf16:
      return convert_all<DType::bf16>(data, n, out);
    case DType::f16:
      return convert_all<DType::f16>(data, n, out);
  }
}

void rms_norm(const float* x, const float* weight, std::int64_t n, float epsilon, float* out) {
  __m256 squares = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const __m256 value = _mm256_loadu_ps(x + i);
    squares = _mm256_fmadd_ps(value, value, squares);
  }
  if (i < n) {
    const __m256 value = load_first(x + i, n - i);
    squares = _mm256_fmadd_ps(value, value, squares);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(n);
  const __m256 root = _mm256_sqrt_ps(_mm256_set1_ps(mean + epsilon));
  const __m256 scale = _mm256_div_ps(_mm256_set1_ps(1.0F), root);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
  }
  if (i < n) {
    const __m256 scaled = _mm256_mul_ps(load_first(x + i, n - i), scale);
    store_first(out + i, n - i, _mm256_mul_ps(scaled, load_first(weight + i, n - i)));
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

void swiglu(float* gate, const float* up, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    _mm256_storeu_ps(gate + i, gate_lanes(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
  }
  if (i < n) {
    store_first(gate + i, n - i, gate_lanes(load_first(gate + i, n - i), load_first(up + i, n - i)));
  }
}

}  // namespace condensed::kernels::avx2
