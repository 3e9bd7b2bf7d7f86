#pragma once

/// The words that all kernels are written in: Eight (lanes of float32) and FourDoubles, what loads, stores
/// and computes with them. The files that include this are compiled once for each instruction set, in a
/// namespace that CONDENSED_SIMD names, and every function below gives the same bits in each. Only intrinsics
/// and plain pointers are used: an inline function of the standard library, compiled there, could replace the
/// one that the rest of the program runs on other processors. `static` for the same reason: each file keeps
/// its own copy.
///
/// load_first_eight(x, n), store_first(x, n, value): the first n lanes, the rest are zeros; any n.
/// multiply_add(a, b, c): a · b + c; multiply_subtract(a, b, c): a · b - c; subtract_product(c, a, b):
///   c - a · b: rounded once.
/// max(a, b), min(a, b): NaN if b is; b or NaN if a is.
/// select_less(x, limit, less, otherwise): `less` where x < limit, else, and for NaN, `otherwise`.
/// round_to_whole(x): ties to even. power_of_two(n): of whole numbers from -126 to 127.
/// sum(x): of eight ((0+1)+(2+3)) + ((4+5)+(6+7)), of four (0+2)+(1+3). store_sums(): sum() of each of four.
/// larger_magnitudes(), largest_magnitude(): compared as integers, so that NaN is the largest of all.
/// store_rounded(out, low, high): sixteen numbers that fit, as integers, ties to even.
/// low_half(x), high_half(x), narrowed(low, high): between eight lanes and twice four of float64.
#if defined(__AVX2__)
#include "kernels/cpu/simd/eight_avx2.h"
#else
#include "kernels/cpu/simd/eight_neon.h"
#endif
