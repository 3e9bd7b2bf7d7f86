#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string_view>
#include <utility>

#include "engine/input_error.h"

namespace condensed::engine {

namespace {

constexpr double kMaxPenalty = 100;
constexpr int kMaxPenaltyWindow = 1024;

void check(bool holds, std::string_view option, std::string_view range, double value) {
  if (!holds) {
    std::ostringstream message;
    message << option << ": expected " << range << ", found " << value;
    throw InputError(message.str());
  }
}

/// log Σ exp(logits), NaN counting as absent.
double log_sum_exp(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) {
    largest = logit > largest ? logit : largest;
  }
  if (!std::isfinite(largest)) {
    return static_cast<double>(largest);
  }
  double sum = 0;
  for (const float logit : logits) {
    sum += std::isnan(logit) ? 0 : std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  }
  return static_cast<double>(largest) + std::log(sum);
}

}  // namespace

void check_sampling(const SamplingOptions& options, int vocab_size) {
  check(options.temperature >= 0 && std::isfinite(options.temperature), "temperature", "0 or more",
        options.temperature);
  check(options.top_k >= 0, "top_k", "0 or more", options.top_k);
  check(options.top_p > 0 && options.top_p <= 1, "top_p", "more than 0, at most 1", options.top_p);
  check(options.min_p >= 0 && options.min_p <= 1, "min_p", "0 to 1", options.min_p);
  check(options.repetition_penalty > 0 && options.repetition_penalty <= kMaxPenalty, "repetition_penalty",
        "more than 0, at most 100", options.repetition_penalty);
  check(std::abs(options.presence_penalty) <= kMaxPenalty, "presence_penalty", "-100 to 100",
        options.presence_penalty);
  check(std::abs(options.frequency_penalty) <= kMaxPenalty, "frequency_penalty", "-100 to 100",
        options.frequency_penalty);
  check(options.penalty_window >= 0 && options.penalty_window <= kMaxPenaltyWindow, "penalty_window",
        "0 to 1024", options.penalty_window);
  for (const auto& [token, bias] : options.logit_bias) {
    check(token >= 0 && token < vocab_size, "logit_bias", "a token id below " + std::to_string(vocab_size),
          token);
    check(std::abs(bias) <= 100, "logit_bias", "-100 to 100", static_cast<double>(bias));
  }
}

Sampler::Sampler(const SamplingOptions& options, int vocab_size, std::uint64_t seed)
    : options_(options), random_state_{.seed = options.seed.value_or(seed)}, random_(random_state_.seed) {
  check_sampling(options, vocab_size);
  recent_.reserve(static_cast<std::size_t>(options.penalty_window));
  adjusted_.resize(static_cast<std::size_t>(vocab_size));
  counts_.resize(static_cast<std::size_t>(vocab_size));
  order_.resize(static_cast<std::size_t>(vocab_size));
}

void Sampler::set_random_state(const RandomState& state) {
  random_state_ = state;
  random_ = pcg64(state.seed);
  random_.advance(state.n_drawn);
}

bool Sampler::greedy() const {
  return options_.temperature == 0 && options_.logit_bias.empty() && options_.repetition_penalty == 1 &&
         options_.presence_penalty == 0 && options_.frequency_penalty == 0;
}

void Sampler::observe(std::int32_t token) {
  const auto window = static_cast<std::size_t>(options_.penalty_window);
  if (window == 0) {
    return;
  }
  if (recent_.size() < window) {
    recent_.push_back(token);
  } else {
    recent_[n_observed_ % window] = token;
  }
  ++n_observed_;
}

/// Logit bias and penalties. The repetition penalty is that of CTRL (arXiv 1909.05858, section 4.1).
void Sampler::adjust(std::span<const float> logits) {
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  for (const auto& [token, bias] : options_.logit_bias) {
    adjusted_[token] += bias;
  }
  const auto repetition = static_cast<float>(options_.repetition_penalty);
  const auto presence = static_cast<float>(options_.presence_penalty);
  const auto frequency = static_cast<float>(options_.frequency_penalty);
  if (repetition == 1 && presence == 0 && frequency == 0) {
    return;
  }
  for (const std::int32_t token : recent_) {
    ++counts_[token];
  }
  for (const std::int32_t token : recent_) {
    if (const std::uint16_t count = std::exchange(counts_[token], std::uint16_t{0}); count > 0) {
      float& logit = adjusted_[token];
      logit = logit > 0 ? logit / repetition : logit * repetition;
      logit -= presence + static_cast<float>(count) * frequency;
    }
  }
}

/// Fills `order_` with the tokens that have a probability, and returns how many.
std::size_t Sampler::candidates() {
  std::size_t n = 0;
  for (std::size_t token = 0; token < adjusted_.size(); ++token) {
    if (adjusted_[token] > -std::numeric_limits<float>::infinity()) {  // false for NaN
      // The difference of two infinities would be NaN.
      adjusted_[token] = std::min(adjusted_[token], std::numeric_limits<float>::max());
      order_[n++] = static_cast<std::int32_t>(token);
    }
  }
  return n;
}

std::int32_t Sampler::draw(std::span<const float> logits) {
  adjust(logits);
  std::size_t n = candidates();
  if (n == 0) {
    return 0;
  }
  const auto likelier = [this](std::int32_t a, std::int32_t b) {
    return adjusted_[a] != adjusted_[b] ? adjusted_[a] > adjusted_[b] : a < b;
  };
  const auto begin = order_.begin();
  const std::int32_t best = *std::min_element(begin, begin + static_cast<std::ptrdiff_t>(n), likelier);
  if (options_.temperature == 0) {
    return best;
  }
  if (const auto top_k = static_cast<std::size_t>(options_.top_k); top_k > 0 && top_k < n) {
    std::nth_element(begin, begin + static_cast<std::ptrdiff_t>(top_k),
                     begin + static_cast<std::ptrdiff_t>(n), likelier);
    n = top_k;
  }
  // Probabilities relative to the likeliest token's, in place of the logits.
  const double largest = adjusted_[best];
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    float& value = adjusted_[order_[i]];
    value = static_cast<float>(std::exp((static_cast<double>(value) - largest) / options_.temperature));
    total += static_cast<double>(value);
  }
  if (options_.top_p < 1) {
    n = keep_top_p(n, options_.top_p * total);
  }
  if (options_.min_p > 0) {
    const auto kept = std::partition(
        begin, begin + static_cast<std::ptrdiff_t>(n),
        [this](std::int32_t token) { return static_cast<double>(adjusted_[token]) >= options_.min_p; });
    n = static_cast<std::size_t>(kept - begin);
  }
  return pick(n);
}

/// Keeps the likeliest of the first n candidates that together reach `mass`, at least one. The head is sorted
/// in growing pieces: seldom more than a few hundred tokens matter.
std::size_t Sampler::keep_top_p(std::size_t n, double mass) {
  const auto likelier = [this](std::int32_t a, std::int32_t b) {
    return adjusted_[a] != adjusted_[b] ? adjusted_[a] > adjusted_[b] : a < b;
  };
  const auto at = [this](std::size_t i) { return order_.begin() + static_cast<std::ptrdiff_t>(i); };
  double sum = 0;
  std::size_t sorted = 0;
  for (std::size_t kept = 0; kept < n; ++kept) {
    if (kept == sorted) {
      const std::size_t next = std::min(n, std::max<std::size_t>(64, sorted * 4));
      std::partial_sort(at(sorted), at(next), at(n), likelier);
      sorted = next;
    }
    sum += static_cast<double>(adjusted_[order_[kept]]);
    if (sum >= mass) {
      return kept + 1;
    }
  }
  return n;
}

/// Draws one of the first n candidates by their weights in `adjusted_`. They are walked in the order of their
/// ids, which does not depend on how the filters left them.
std::int32_t Sampler::pick(std::size_t n) {
  const auto end = order_.begin() + static_cast<std::ptrdiff_t>(n);
  if (!std::is_sorted(order_.begin(), end)) {
    std::sort(order_.begin(), end);
  }
  double total = 0;
  for (auto token = order_.begin(); token != end; ++token) {
    total += static_cast<double>(adjusted_[*token]);
  }
  ++random_state_.n_drawn;
  const double target = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  double sum = 0;
  for (auto token = order_.begin(); token != end; ++token) {
    sum += static_cast<double>(adjusted_[*token]);
    if (target < sum) {
      return *token;
    }
  }
  return *(end - 1);
}

TokenLogprob logprob_of(std::span<const float> logits, std::int32_t token) {
  return {.token = token,
          .logprob = static_cast<float>(static_cast<double>(logits[token]) - log_sum_exp(logits))};
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int n) {
  std::vector<std::int32_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<std::int32_t>(i);
  }
  const auto count = std::min(order.size(), static_cast<std::size_t>(std::max(0, n)));
  // NaN sorts last, so that the order is a strict one.
  const auto key = [&](std::int32_t token) {
    return std::isnan(logits[token]) ? -std::numeric_limits<float>::infinity() : logits[token];
  };
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
      [&](std::int32_t a, std::int32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
  const double normaliser = log_sum_exp(logits);
  std::vector<TokenLogprob> top;
  for (std::size_t i = 0; i < count; ++i) {
    top.push_back(
        {.token = order[i], .logprob = static_cast<float>(static_cast<double>(key(order[i])) - normaliser)});
  }
  return top;
}

}  // namespace condensed::engine
