#pragma once

#include "kernels/cpu/simd/eight.h"

namespace condensed::kernels::CONDENSED_SIMD {

/// e^x to about 1e-7 of the value. Below -87.3: 0; above 88.3: infinity; NaN: NaN.
static inline Eight exp_lanes(Eight x) {
  const Eight lowest = eight_of(-87.3F);
  const Eight highest = eight_of(88.3F);
  const Eight clamped = max(lowest, min(highest, x));
  // e^x = 2^n · e^r with |r| <= ln(2)/2; ln(2) in two parts, the first exact in products with n.
  const Eight n = round_to_whole(multiply(clamped, eight_of(1.44269504F)));
  Eight r = subtract_product(clamped, n, eight_of(0.693359375F));
  r = subtract_product(r, n, eight_of(-2.12194440e-4F));
  // The minimax polynomial of Cephes' expf.
  Eight p = eight_of(1.9875691500e-4F);
  p = multiply_add(p, r, eight_of(1.3981999507e-3F));
  p = multiply_add(p, r, eight_of(8.3334519073e-3F));
  p = multiply_add(p, r, eight_of(4.1665795894e-2F));
  p = multiply_add(p, r, eight_of(1.6666665459e-1F));
  p = multiply_add(p, r, eight_of(5.0000001201e-1F));
  p = multiply_add(p, multiply(r, r), r);
  p = add(p, eight_of(1.0F));
  const Eight value = select_less(highest, x, eight_of(__builtin_inff()), multiply(p, power_of_two(n)));
  return select_less(x, lowest, eight_of(0.0F), value);
}

}  // namespace condensed::kernels::CONDENSED_SIMD
