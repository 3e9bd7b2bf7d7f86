#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/token_mass.h"

namespace condensed::kernels {

/// How a token is chosen from a row of logits. In this order: adjustments, temperature, top-k, top-p, min-p,
/// draw. NaN and -infinity are never chosen, unless there is nothing else: then token 0 is. +infinity is the
/// largest float. Of equal logits the lower id is the likelier.
struct TokenChoice {
  double temperature = 0;    // 0: the likeliest token, and nothing is drawn
  std::int32_t top_k = 0;    // 0: off
  double top_p = 1;          // (0, 1]: keeps the likeliest tokens that together have that share of the mass
  double min_p = 0;          // [0, 1]: keeps tokens at least that many times as likely as the likeliest
  std::uint64_t random = 0;  // uniform: the token is that at random / 2^64 of the mass, by ids
  Penalties penalties;
  std::span<const LogitAdjustment> adjustments;  // of distinct tokens of the row
};

/// 1 / temperature, and finite: an infinite one would make NaN of equal logits.
double inverse_temperature(const TokenChoice& choice);
/// What the mass of a token must be to be kept by min-p.
std::uint64_t least_mass(const TokenChoice& choice);

/// What choose_token() works with, kept from one call to the next.
struct ChoiceSpace {
  std::vector<std::int32_t> order;
  std::vector<std::uint64_t> masses;  // by id
};

/// The token. logits: at most 2^23; what they are behind it is not said, but for a default choice, which
/// leaves them as they are.
std::int32_t choose_token(std::span<float> logits, const TokenChoice& choice, ChoiceSpace& space);

}  // namespace condensed::kernels
