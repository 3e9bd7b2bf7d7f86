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
  for (const auto& [token, bias] : options_.logit_bias) {
    adjustments_.push_back({.token = token, .bias = bias, .count = 0});
  }
  // One for each token, in the order of tokens: a request can have a hundred thousand.
  std::ranges::stable_sort(adjustments_, {}, &kernels::LogitAdjustment::token);
  std::size_t n = 0;
  for (const kernels::LogitAdjustment& adjustment : adjustments_) {
    if (n > 0 && adjustments_[n - 1].token == adjustment.token) {
      adjustments_[n - 1].bias += adjustment.bias;
    } else {
      adjustments_[n++] = adjustment;
    }
  }
  adjustments_.resize(n);
  if (penalises()) {
    const auto window = static_cast<std::size_t>(options.penalty_window);
    recent_.reserve(window);
    adjustments_.reserve(adjustments_.size() + window + 1);
  }
}

void Sampler::set_random_state(const RandomState& state) {
  random_state_ = state;
  random_ = pcg64(state.seed);
  random_.advance(state.n_drawn);
}

bool Sampler::penalises() const {
  return options_.penalty_window > 0 && (options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
                                         options_.frequency_penalty != 0);
}

/// Changes what is done with the token's logit; what no longer does anything leaves the list, unless it is
/// biased.
void Sampler::adjust(std::int32_t token, float bias, std::int32_t count) {
  const auto at = std::ranges::lower_bound(adjustments_, token, {}, &kernels::LogitAdjustment::token);
  if (at == adjustments_.end() || at->token != token) {
    adjustments_.insert(at, {.token = token, .bias = bias, .count = count});
    return;
  }
  at->bias += bias;
  at->count += count;
  if (at->count == 0 && at->bias == 0) {
    adjustments_.erase(at);
  }
}

void Sampler::observe(std::int32_t token) {
  if (!penalises()) {
    return;
  }
  const auto window = static_cast<std::size_t>(options_.penalty_window);
  adjust(token, 0, 1);
  if (recent_.size() < window) {
    recent_.push_back(token);
  } else {
    adjust(std::exchange(recent_[n_observed_ % window], token), 0, -1);
  }
  ++n_observed_;
}

kernels::TokenChoice Sampler::choice() const {
  return {.temperature = options_.temperature,
          .top_k = options_.top_k,
          .top_p = options_.top_p,
          .min_p = options_.min_p,
          .random = pcg64(random_)(),
          .penalties = {.repetition = static_cast<float>(options_.repetition_penalty),
                        .presence = static_cast<float>(options_.presence_penalty),
                        .frequency = static_cast<float>(options_.frequency_penalty)},
          .adjustments = adjustments_};
}

void Sampler::count_draw() {
  if (options_.temperature > 0) {
    random_();
    ++random_state_.n_drawn;
  }
}

std::int32_t Sampler::draw(std::span<const float> logits) {
  logits_.assign(logits.begin(), logits.end());
  const std::int32_t token = kernels::choose_token(logits_, choice(), space_);
  count_draw();
  return token;
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
