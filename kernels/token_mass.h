#pragma once

#include <cstdint>

/// The numbers that decide which token is chosen, computed alike to the bit on processors and devices: who
/// compiles this must not fuse products into sums.
#ifdef __CUDACC__
#define CONDENSED_HOST_DEVICE __host__ __device__
#else
#define CONDENSED_HOST_DEVICE
#endif

namespace condensed::kernels {

/// A token's logit is changed before anything else is done with it.
struct LogitAdjustment {
  std::int32_t token = 0;
  float bias = 0;          // added
  std::int32_t count = 0;  // how often the penalties have seen the token
};

struct Penalties {
  float repetition = 1;  // divides positive logits, multiplies negative (CTRL, arXiv 1909.05858, section 4.1)
  float presence = 0;    // subtracted once
  float frequency = 0;   // subtracted for every time
};

CONDENSED_HOST_DEVICE inline float adjusted(float logit, const LogitAdjustment& adjustment,
                                            const Penalties& penalties) {
  logit += adjustment.bias;
  if (adjustment.count > 0) {
    logit = logit > 0 ? logit / penalties.repetition : logit * penalties.repetition;
    logit -= penalties.presence + static_cast<float>(adjustment.count) * penalties.frequency;
  }
  return logit;
}

/// A token's probability relative to the likeliest's, as an integer: sums are exact, and the same in any
/// order. Sums of 2^23 tokens fit.
constexpr int kMassBits = 40;
constexpr std::uint64_t kLikeliestMass = std::uint64_t{1} << kMassBits;

/// exp((logit - highest) / temperature) · 2^40, to the nearest but for 2^-47 of it. logit: at most highest.
CONDENSED_HOST_DEVICE inline std::uint64_t token_mass(float logit, float highest,
                                                      double inverse_temperature) {
  constexpr double kLeast = -29;  // e^-29 · 2^40 rounds to 0
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2High = 6.93147180369123816490e-01;  // its last 21 bits are 0
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  constexpr int kFineBits = 52;
  const double x = (static_cast<double>(logit) - static_cast<double>(highest)) * inverse_temperature;
  if (!(x > kLeast)) {
    return 0;
  }
  // e^x = e^r / 2^halvings, |r| <= ln(2)/2, where the series' twelfth term is below 2^-47.
  const int halvings = static_cast<int>(0.5 - x * kLog2E);
  const double r = (x + halvings * kLn2High) + halvings * kLn2Low;
  double sum = 1.0 / 39916800;
  sum = sum * r + 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 0.5;
  sum = sum * r + 1;
  sum = sum * r + 1;
  const auto fine = static_cast<std::uint64_t>(sum * static_cast<double>(std::uint64_t{1} << kFineBits));
  const int shift = kFineBits - kMassBits + halvings;
  return (fine + (std::uint64_t{1} << (shift - 1))) >> shift;
}

/// The mass that the likeliest tokens must reach together, at least that of one. total: of them all, not 0.
CONDENSED_HOST_DEVICE inline std::uint64_t top_p_mass(double top_p, std::uint64_t total) {
  const double share = top_p * static_cast<double>(total);
  auto mass = static_cast<std::uint64_t>(share);
  mass += static_cast<double>(mass) < share ? 1 : 0;
  mass = mass < total ? mass : total;
  return mass > 0 ? mass : 1;
}

/// What the running sum of masses, in the order of ids, must exceed at the token that is drawn: floor(random
/// / 2^64 · total).
CONDENSED_HOST_DEVICE inline std::uint64_t drawn_mass(std::uint64_t random, std::uint64_t total) {
  constexpr std::uint64_t kLow = 0xffffffffU;
  const std::uint64_t low = (random & kLow) * (total & kLow);
  const std::uint64_t middle = (random >> 32) * (total & kLow) + (low >> 32);
  const std::uint64_t other = (random & kLow) * (total >> 32) + (middle & kLow);
  return (random >> 32) * (total >> 32) + (middle >> 32) + (other >> 32);
}

}  // namespace condensed::kernels
