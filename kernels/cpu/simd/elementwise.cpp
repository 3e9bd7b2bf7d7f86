// What is done to each element of a row, beside products and attention.

#include "kernels/cpu/simd/exp_lanes.h"
#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/lanes.h"

namespace condensed::kernels::CONDENSED_SIMD {

namespace {

// The sigmoid is good to float32, the products are not rounded in between.
FourDoubles gate_lanes(FourDoubles gate, FourDoubles power, FourDoubles up) {
  return multiply(divide(gate, add(four_of(1.0), power)), up);
}

Eight gate_eight(const double* gate, const double* up) {
  const FourDoubles low = load(gate);
  const FourDoubles high = load(gate + 4);
  const Eight power = exp_lanes(narrowed(subtract(four_of(0.0), low), subtract(four_of(0.0), high)));
  return narrowed(gate_lanes(low, low_half(power), load(up)),
                  gate_lanes(high, high_half(power), load(up + 4)));
}

// Eight elements of each half of a head.
struct Halves {
  Eight low;
  Eight high;
};

Halves rotate_lanes(Halves x, Eight cosines, Eight sines) {
  return {multiply_subtract(x.low, cosines, multiply(x.high, sines)),
          multiply_add(x.high, cosines, multiply(x.low, sines))};
}

}  // namespace

void quantise_activations(const float* x, std::int64_t cols, DType weights, std::int16_t* integers,
                          std::int64_t padded_cols, float* scales) {
  constexpr float kLimit = 32767;
  constexpr float kSmallest =
      1e-30F;  // below, a group counts as zeros: the inverse of its scale would overflow
  const std::int64_t group = weights == DType::q8 ? kQ8Group : kQ4Group;
  for (std::int64_t first = 0; first < padded_cols; first += group) {
    EightInts magnitudes = no_magnitudes();
    for (std::int64_t i = first; i < first + group; i += 8) {
      magnitudes = larger_magnitudes(magnitudes, load_first_eight(x + i, cols - i));
    }
    const float limit = largest_magnitude(magnitudes);
    *scales++ = limit / kLimit;
    const Eight inverse = eight_of(limit < kSmallest ? 0.0F : kLimit / limit);
    for (std::int64_t i = first; i < first + group; i += 16) {
      store_rounded(integers + i, multiply(load_first_eight(x + i, cols - i), inverse),
                    multiply(load_first_eight(x + i + 8, cols - i - 8), inverse));
    }
    arrange_activations(integers + first, group, weights);
  }
}

void rms_norm(const double* x, const float* weight, std::int64_t n, float epsilon, float* out) {
  constexpr std::int64_t kDoubles = 4;
  FourDoubles squares = four_of(0.0);
  std::int64_t i = 0;
  for (; i + kDoubles <= n; i += kDoubles) {
    const FourDoubles value = load(x + i);
    squares = multiply_add(value, value, squares);
  }
  double lanes[kDoubles];
  store(lanes, squares);
  double sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (; i < n; ++i) {
    sum += x[i] * x[i];
  }
  const double mean = sum / static_cast<double>(n) + static_cast<double>(epsilon);
  const double scale = 1.0 / square_root(mean);
  for (i = 0; i + 2 * kDoubles <= n; i += 2 * kDoubles) {
    const Eight weights = load_eight(weight + i);
    const FourDoubles low = multiply(load(x + i), four_of(scale));
    const FourDoubles high = multiply(load(x + i + kDoubles), four_of(scale));
    store(out + i, narrowed(multiply(low, low_half(weights)), multiply(high, high_half(weights))));
  }
  for (; i < n; ++i) {
    out[i] = static_cast<float>(x[i] * scale * static_cast<double>(weight[i]));
  }
}

void rotate(const float* x, const float* angles, std::int64_t head_dim, float* out) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t i = 0; i < half; i += 8) {
    const std::int64_t n = half - i;
    const Halves turned =
        rotate_lanes({load_first_eight(x + i, n), load_first_eight(x + half + i, n)},
                     load_first_eight(angles + i, n), load_first_eight(angles + half + i, n));
    store_first(out + i, n, turned.low);
    store_first(out + half + i, n, turned.high);
  }
}

void swiglu(const double* gate, const double* up, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    store(out + i, gate_eight(gate + i, up + i));
  }
  if (i < n) {
    double gates[8] = {};
    double ups[8] = {};
    __builtin_memcpy(gates, gate + i, static_cast<std::size_t>(n - i) * sizeof(double));
    __builtin_memcpy(ups, up + i, static_cast<std::size_t>(n - i) * sizeof(double));
    store_first(out + i, n - i, gate_eight(gates, ups));
  }
}

}  // namespace condensed::kernels::CONDENSED_SIMD
