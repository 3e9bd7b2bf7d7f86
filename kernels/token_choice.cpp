#include "kernels/token_choice.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace condensed::kernels {

namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kNever = -std::numeric_limits<float>::infinity();

std::int32_t likeliest(std::span<const float> logits) {
  std::int32_t best = 0;
  float highest = kNever;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > highest) {
      highest = std::min(logits[i], kLargest);
      best = static_cast<std::int32_t>(i);
      if (highest == kLargest) {
        break;
      }
    }
  }
  return best;
}

struct Likelier {
  std::span<const float> logits;

  bool operator()(std::int32_t a, std::int32_t b) const {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  }
};

/// The tokens that may be drawn, fewer with every filter.
class Candidates {
 public:
  /// Every token that has a probability, in the order of ids.
  Candidates(std::span<float> logits, ChoiceSpace& space) : logits_(logits), space_(space) {
    space.order.resize(logits.size());
    space.masses.resize(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > kNever) {  // false for NaN
        logits[i] = std::min(logits[i], kLargest);
        space.order[n_++] = static_cast<std::int32_t>(i);
      }
    }
  }

  void keep_top_k(std::size_t top_k) {
    if (top_k > 0 && top_k < n_) {
      std::nth_element(at(0), at(top_k), at(n_), Likelier{logits_});
      n_ = top_k;
    }
  }

  void weigh(float highest, double inverse_temperature) {
    for (std::size_t i = 0; i < n_; ++i) {
      const std::int32_t token = space_.order[i];
      space_.masses[token] = token_mass(logits_[token], highest, inverse_temperature);
    }
  }

  /// The head is sorted in growing pieces: seldom more than a few hundred tokens matter.
  void keep_top_p(double top_p) {
    const std::uint64_t wanted = top_p_mass(top_p, total());
    std::uint64_t sum = 0;
    std::size_t sorted = 0;
    for (std::size_t kept = 0; kept < n_; ++kept) {
      if (kept == sorted) {
        const std::size_t next = std::min(n_, std::max<std::size_t>(64, sorted * 4));
        std::partial_sort(at(sorted), at(next), at(n_), Likelier{logits_});
        sorted = next;
      }
      sum += space_.masses[space_.order[kept]];
      if (sum >= wanted) {
        n_ = kept + 1;
        return;
      }
    }
  }

  void keep_mass(std::uint64_t least) {
    const auto kept =
        std::partition(at(0), at(n_), [&](std::int32_t token) { return space_.masses[token] >= least; });
    n_ = static_cast<std::size_t>(kept - at(0));
  }

  /// In the order of ids, which does not depend on how the filters left them.
  std::int32_t draw(std::uint64_t random) {
    if (!std::is_sorted(at(0), at(n_))) {
      std::sort(at(0), at(n_));
    }
    const std::uint64_t target = drawn_mass(random, total());
    std::uint64_t sum = 0;
    return *std::find_if(at(0), at(n_), [&](std::int32_t token) {
      sum += space_.masses[token];
      return sum > target;
    });
  }

 private:
  std::vector<std::int32_t>::iterator at(std::size_t i) {
    return space_.order.begin() + static_cast<std::ptrdiff_t>(i);
  }
  std::uint64_t total() {
    std::uint64_t sum = 0;
    std::for_each(at(0), at(n_), [&](std::int32_t token) { sum += space_.masses[token]; });
    return sum;
  }

  std::span<float> logits_;
  ChoiceSpace& space_;
  std::size_t n_ = 0;
};

}  // namespace

double inverse_temperature(const TokenChoice& choice) {
  constexpr double kMost = 1e300;
  return std::min(1 / choice.temperature, kMost);
}

std::uint64_t least_mass(const TokenChoice& choice) {
  return static_cast<std::uint64_t>(std::ceil(choice.min_p * static_cast<double>(kLikeliestMass)));
}

std::int32_t choose_token(std::span<float> logits, const TokenChoice& choice, ChoiceSpace& space) {
  assert(logits.size() <= std::size_t{1} << 23);
  for (const LogitAdjustment& adjustment : choice.adjustments) {
    float& logit = logits[adjustment.token];
    logit = adjusted(logit, adjustment, choice.penalties);
  }
  const std::int32_t best = likeliest(logits);
  if (choice.temperature == 0 || logits.empty() || !(logits[best] > kNever)) {
    return best;
  }
  Candidates candidates(logits, space);
  candidates.keep_top_k(static_cast<std::size_t>(choice.top_k));
  candidates.weigh(logits[best], inverse_temperature(choice));
  if (choice.top_p < 1) {
    candidates.keep_top_p(choice.top_p);
  }
  if (choice.min_p > 0) {
    candidates.keep_mass(least_mass(choice));
  }
  return candidates.draw(choice.random);
}

}  // namespace condensed::kernels
