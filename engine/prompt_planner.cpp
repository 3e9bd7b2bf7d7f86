#include "engine/prompt_planner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

namespace condensed::engine {

namespace {

constexpr int kRepetitions = 2;  // that count
constexpr double kLongStepSeconds = 0.2;
constexpr double kForget = 0.1;  // weight of the newest observation of passes

// Passes until nothing moves by more than 1e-3, measured on books-1m; sizes that are tried.
constexpr std::pair<std::int64_t, double> kUsualPasses[] = {
    {4, 4.0}, {8, 6.3}, {16, 7.6}, {32, 8.3}, {64, 9.0}};

/// A step of n streams of one token each: the same products as a pass over a chunk of n.
double measure_step(Model& model, Transformer& transformer, std::int64_t n_rows) {
  using Clock = std::chrono::steady_clock;
  const std::int32_t token = 0;
  double best = std::numeric_limits<double>::infinity();
  for (int repetition = -model.backend->warm_up_steps(); repetition < kRepetitions; ++repetition) {
    std::vector<cache::CondensedCache> caches;
    std::vector<Slice> slices;
    caches.reserve(static_cast<std::size_t>(n_rows));
    for (std::int64_t i = 0; i < n_rows; ++i) {
      caches.emplace_back(*model.backend, transformer.cache_shape(), cache::StreamWindow{0, 1});
      slices.push_back({.cache = &caches.back(), .tokens = {&token, 1}});
    }
    const auto start = Clock::now();
    transformer.run(slices, {});
    if (repetition >= 0) {
      best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
  }
  return best;
}

}  // namespace

PromptPlanner::PromptPlanner(const PromptOptions& prompt, StepSeconds step_seconds)
    : prompt_(prompt), step_seconds_(std::move(step_seconds)) {
  for (const auto& [chunk, passes] : kUsualPasses) {
    if (chunk <= prompt.chunk_tokens) {
      passes_[chunk] = passes;
    }
  }
}

PromptPlanner PromptPlanner::measured(Model& model, Transformer& transformer, const PromptOptions& prompt) {
  StepSeconds step_seconds;
  const std::int64_t most = std::min<std::int64_t>(64, transformer.max_rows());
  if (prompt.mode == PromptMode::automatic) {
    for (std::int64_t n_rows = 1; n_rows <= most; n_rows *= 2) {
      step_seconds[n_rows] = measure_step(model, transformer, n_rows);
      if (n_rows > 1 && step_seconds[n_rows] > kLongStepSeconds) {
        break;  // the rest lies on a line, and a large model should not take longer to start
      }
    }
  }
  return {prompt, std::move(step_seconds)};
}

double PromptPlanner::step_seconds(std::int64_t n_rows) const {
  if (n_rows == 0) {
    return 0;
  }
  if (step_seconds_.size() == 1) {
    return step_seconds_.begin()->second * static_cast<double>(n_rows);
  }
  auto above = step_seconds_.lower_bound(n_rows);
  if (above == step_seconds_.end()) {
    --above;
  }
  if (above == step_seconds_.begin()) {
    ++above;
  }
  const auto below = std::prev(above);
  const double slope = (above->second - below->second) / static_cast<double>(above->first - below->first);
  return below->second + slope * static_cast<double>(n_rows - below->first);
}

std::int64_t PromptPlanner::slice_tokens(std::int64_t n_waiting, std::int64_t n_others) const {
  if (prompt_.mode != PromptMode::automatic) {
    return prompt_.slice_tokens(n_waiting);
  }
  // What one token of this prompt adds to the work of a step that runs anyway.
  std::int64_t best = 1;
  double least = step_seconds(n_others + 1) - step_seconds(n_others);
  for (const auto& [chunk, passes] : passes_) {
    if (chunk > n_waiting) {
      break;
    }
    const double first_pass = step_seconds(n_others + chunk) - step_seconds(n_others);
    const double seconds = first_pass + (passes - 1) * step_seconds(chunk);
    if (seconds / static_cast<double>(chunk) < least) {
      best = chunk;
      least = seconds / static_cast<double>(chunk);
    }
  }
  return best;
}

void PromptPlanner::observe(std::int64_t n_tokens, std::int64_t passes) {
  if (const auto known = passes_.find(n_tokens); known != passes_.end()) {
    known->second += kForget * (static_cast<double>(passes) - known->second);
  }
}

}  // namespace condensed::engine
