#pragma once

#include <cfloat>

#include "kernels/cuda/device_language.cuh"

/// One block chooses the token of one row, as kernels/token_choice.cpp does: to the bit, since all sums are
/// of integers. Every filter keeps a head of the tokens in the order of their likelihood, so it is a cut: the
/// least key that stays, and the last id of those that have it.
namespace condensed::kernels::cuda {

constexpr int kChoiceThreads = 512;
constexpr int kChoiceWarps = kChoiceThreads / kWarp;
constexpr int kDigitBits = 11;
constexpr int kBins = 1 << kDigitBits;

/// The block's shared memory.
struct ChoiceSums {
  unsigned long long bins[kBins];
  unsigned long long of_warps[kChoiceWarps];
};

/// Ordered like the logits; 0: never chosen. Both zeros are one.
__device__ inline std::uint32_t key_of(float logit) {
  const float bounded = logit > FLT_MAX ? FLT_MAX : logit == 0 ? 0.0F : logit;
  const unsigned bits = __float_as_uint(bounded);
  const bool ordered = bounded == bounded && bits != 0xff800000U;  // neither NaN nor -infinity
  return !ordered ? 0 : (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ inline float logit_of(std::uint32_t key) {
  return __uint_as_float((key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key);
}

/// A place in a running sum, and what the sum has still to exceed there.
struct Found {
  std::int32_t at = 0;
  unsigned long long rest = 0;
};

/// The first of n values at which their running sum exceeds target_of(its total), which must be below that.
/// Every warp sums a part, and the part in which it happens is shared out again.
template <typename Value, typename TargetOf>
__device__ Found find_in_order(int n, const Value& value, const TargetOf& target_of, ChoiceSums& sums) {
  int first = 0;
  int end = n;
  Found found;
  for (bool whole = true; whole || end - first > kWarp; whole = false) {
    const int share = (end - first + kChoiceThreads - 1) / kChoiceThreads * kWarp;
    const int begin = first + warp_index() * share;
    const int stop = begin + share < end ? begin + share : end;
    unsigned long long sum = 0;
    for (int i = begin + lane_index(); i < stop; i += kWarp) {
      sum += value(i);
    }
    sum = warp_sum(sum);
    __syncthreads();  // until here the former sums are read
    if (lane_index() == 0) {
      sums.of_warps[warp_index()] = sum;
    }
    __syncthreads();
    if (whole) {
      unsigned long long total = 0;
      for (int w = 0; w < kChoiceWarps; ++w) {
        total += sums.of_warps[w];
      }
      found.rest = target_of(total);
    }
    int w = 0;
    for (; w + 1 < kChoiceWarps && sums.of_warps[w] <= found.rest; ++w) {
      found.rest -= sums.of_warps[w];
    }
    first += w * share;
    end = first + share < end ? first + share : end;
  }
  // The last 32, by every warp for itself.
  const int own = first + lane_index();
  const unsigned long long mine = own < end ? value(own) : 0;
  unsigned long long until = mine;
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const unsigned long long before = __shfl_sync(kAllLanes, until, (lane_index() - step) & (kWarp - 1));
    until += lane_index() >= step ? before : 0;
  }
  const bool passed = until <= found.rest;
  found.at = first + warp_sum(passed ? 1 : 0);
  found.rest -= warp_max(passed ? until : 0ULL);
  return found;
}

/// Of the tokens with a key above `key` all, of those that have it these up to `last`.
struct Cut {
  std::uint32_t key = 1;
  std::int32_t last = 0x7fffffff;

  __device__ bool keeps(std::uint32_t token_key, std::int32_t token) const {
    return token_key > key || (token_key == key && token <= last);
  }
};

/// The row's tokens that are left.
struct ChoiceTokens {
  const float* logits;
  std::int32_t n;
  Cut cut;

  /// 0: it is not among them.
  __device__ std::uint32_t key(std::int32_t token) const {
    const std::uint32_t key = key_of(logits[token]);
    return cut.keeps(key, token) ? key : 0;
  }
};

/// Where the sum of amounts, in the order of likelihood, reaches wanted_of(their total), which is at least 1.
/// An amount follows from the key. The key is found by its digits, the highest first.
template <typename Amount, typename WantedOf>
__device__ Cut head_of(const ChoiceTokens& tokens, const Amount& amount, const WantedOf& wanted_of,
                       ChoiceSums& sums) {
  Cut cut{.key = 0};
  unsigned long long wanted = 0;
  unsigned long long of_key = 0;  // amounts of all that have the key
  std::uint32_t known = 0;        // the bits of the key that are known
  for (int shift = 32 - kDigitBits;; shift = shift > kDigitBits ? shift - kDigitBits : 0) {
    __syncthreads();
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kChoiceThreads) {
      sums.bins[bin] = 0;
    }
    __syncthreads();
    const std::uint32_t digit = ~known & (0xffffffffU << shift);
    for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < tokens.n; i += kChoiceThreads) {
      const std::uint32_t key = tokens.key(i);
      if (key != 0 && (key & known) == cut.key) {
        const unsigned long long own = amount(key);
        if (own > 0) {
          atomicAdd(&sums.bins[(key & digit) >> shift], own);
        }
      }
    }
    __syncthreads();
    const auto from_above = [&](int i) { return sums.bins[kBins - 1 - i]; };
    const Found found = find_in_order(
        kBins, from_above,
        [&](unsigned long long total) { return (known == 0 ? wanted_of(total) : wanted) - 1; }, sums);
    const int bin = kBins - 1 - found.at;
    wanted = found.rest + 1;
    of_key = sums.bins[bin];
    cut.key |= static_cast<std::uint32_t>(bin) << shift;
    known |= digit;
    if (shift == 0) {
      break;
    }
  }
  cut.last = cut.key == tokens.cut.key ? tokens.cut.last : cut.last;
  // How many of those that have the key, the lowest ids first: none has less than 1.
  const unsigned long long each = amount(cut.key);
  const unsigned long long n_kept = (wanted + each - 1) / each;
  if (n_kept * each < of_key) {
    const auto has_key = [&](int i) { return tokens.key(i) == cut.key ? 1ULL : 0ULL; };
    cut.last = find_in_order(
                   tokens.n, has_key, [&](unsigned long long) { return n_kept - 1; }, sums)
                   .at;
  }
  return cut;
}

/// The likeliest token's key, and below it what the lower id has more of; 0: there is none.
__device__ inline unsigned long long likeliest_token(const float* logits, std::int32_t n, ChoiceSums& sums) {
  unsigned long long best = 0;
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < n; i += kChoiceThreads) {
    const std::uint32_t key = key_of(logits[i]);
    const unsigned long long candidate =
        key == 0 ? 0 : static_cast<unsigned long long>(key) << 32 | (0xffffffffU - static_cast<unsigned>(i));
    best = candidate > best ? candidate : best;
  }
  best = warp_max(best);
  if (lane_index() == 0) {
    sums.of_warps[warp_index()] = best;
  }
  __syncthreads();
  for (int w = 0; w < kChoiceWarps; ++w) {
    best = sums.of_warps[w] > best ? sums.of_warps[w] : best;
  }
  return best;
}

__device__ inline std::int32_t drawn_token(ChoiceTokens& tokens, const ChoiceRow& row, float highest,
                                           ChoiceSums& sums) {
  const auto mass = [&](std::uint32_t key) -> unsigned long long {
    return token_mass(logit_of(key), highest, row.inverse_temperature);
  };
  if (row.top_k > 0) {
    tokens.cut = head_of(
        tokens, [](std::uint32_t) { return 1ULL; },
        [&](unsigned long long total) {
          const auto top_k = static_cast<unsigned long long>(row.top_k);
          return top_k < total ? top_k : total;
        },
        sums);
  }
  if (row.top_p < 1) {
    tokens.cut = head_of(
        tokens, mass,
        [&](unsigned long long total) -> unsigned long long { return top_p_mass(row.top_p, total); }, sums);
  }
  const auto drawn = [&](int i) {
    const std::uint32_t key = tokens.key(i);
    const unsigned long long own = key != 0 ? mass(key) : 0;
    return own >= row.least_mass ? own : 0;
  };
  return find_in_order(
             tokens.n, drawn,
             [&](unsigned long long total) -> unsigned long long { return drawn_mass(row.random, total); },
             sums)
      .at;
}

/// grid: rows
static __global__ void __launch_bounds__(kChoiceThreads) choose_token(ChooseArguments arguments) {
  take_turn();
  if (blockIdx.x >= value_of(arguments.count)) {
    return;
  }
  auto& sums = *reinterpret_cast<ChoiceSums*>(dynamic_shared_bytes);
  const ChoiceRow row = arguments.rows[blockIdx.x];
  float* logits = arguments.logits + static_cast<std::int64_t>(blockIdx.x) * arguments.cols;
  for (std::int32_t a = static_cast<std::int32_t>(threadIdx.x); a < row.n_adjustments; a += kChoiceThreads) {
    const LogitAdjustment adjustment = arguments.adjustments[row.first_adjustment + a];
    logits[adjustment.token] = adjusted(logits[adjustment.token], adjustment, row.penalties);
  }
  __syncthreads();
  const auto n = static_cast<std::int32_t>(arguments.cols);
  const unsigned long long best = likeliest_token(logits, n, sums);
  std::int32_t token = static_cast<std::int32_t>(0xffffffffU - static_cast<std::uint32_t>(best));
  if (best == 0) {
    token = 0;
  } else if (row.inverse_temperature > 0) {
    ChoiceTokens tokens{.logits = logits, .n = n, .cut = {}};
    token = drawn_token(tokens, row, logit_of(static_cast<std::uint32_t>(best >> 32)), sums);
  }
  if (threadIdx.x == 0) {
    arguments.out[blockIdx.x] = token;
  }
}

}  // namespace condensed::kernels::cuda
