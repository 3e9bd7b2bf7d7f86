#include "eval/stream_batch.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <numeric>
#include <span>

#include "eval/progress.h"

namespace condensed::eval {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kFillRows = 64;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double process_cpu_s() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

StreamBatch::StreamBatch(engine::Model& model, const engine::PromptOptions& prompt,
                         kernels::DType cache_dtype, std::int64_t n_streams,
                         const cache::StreamWindow& window)
    : model_(model),
      prompt_(prompt),
      transformer_(model, n_streams * chunk(), cache_dtype),
      planner_(engine::PromptPlanner::measured(model, transformer_, prompt_)),
      random_(1) {
  const cache::CacheShape shape = transformer_.cache_shape();
  std::vector<float> numbers(static_cast<std::size_t>(kFillRows * shape.n_kv_heads * shape.head_dim));
  std::normal_distribution<float> normal;
  std::ranges::generate(numbers, [&] { return normal(random_); });
  const std::span<const std::byte> bytes = std::as_bytes(std::span(numbers));
  numbers_ = model.backend->allocate(bytes.size());
  model.backend->upload(bytes, {numbers_.get(), bytes.size()});
  for (std::int64_t stream = 0; stream < n_streams; ++stream) {
    caches_.emplace_back(*model.backend, shape, window);
  }
  next_.assign(static_cast<std::size_t>(n_streams), 1);
}

void StreamBatch::append_random(cache::CondensedCache& cache, std::int64_t n_tokens) {
  const auto* numbers = reinterpret_cast<const float*>(numbers_.get());
  const std::vector<cache::PendingRows> pending(static_cast<std::size_t>(cache.shape().n_owners),
                                                {.keys = numbers, .values = numbers});
  for (std::int64_t done = 0; done < n_tokens;) {
    const std::int64_t n = std::min(kFillRows, n_tokens - done);
    cache.append(n, pending);
    done += n;
  }
}

void StreamBatch::fill_to(std::int64_t n_tokens) {
  for (cache::CondensedCache& cache : caches_) {
    append_random(cache, std::min(n_tokens, cache.window().capacity()) - cache.size());
  }
}

void StreamBatch::fill() {
  for (cache::CondensedCache& cache : caches_) {
    const std::int64_t missing = cache.window().capacity() - cache.size();
    append_random(cache, cache.evictions() == 0 ? missing + 1 : missing);
  }
}

void StreamBatch::skip(std::int64_t n) {
  for (cache::CondensedCache& cache : caches_) {
    cache.skip(n);
  }
}

double StreamBatch::read_prompts(std::int64_t n) {
  std::uniform_int_distribution<std::int32_t> token(0, model_.config.vocab_size - 1);
  std::vector<std::int32_t> prompt(static_cast<std::size_t>(n));
  std::ranges::generate(prompt, [&] { return token(random_); });
  const auto start = Clock::now();
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t length = planner_.slice_tokens(n - done, std::ssize(caches_) - 1);
    slices_.clear();
    for (cache::CondensedCache& cache : caches_) {
      slices_.push_back({.cache = &cache,
                         .tokens = std::span(prompt).subspan(static_cast<std::size_t>(done),
                                                             static_cast<std::size_t>(length))});
    }
    transformer_.run(slices_, prompt_);
    done += length;
  }
  return seconds_since(start);
}

void StreamBatch::decode() {
  slices_.clear();
  for (std::size_t b = 0; b < caches_.size(); ++b) {
    slices_.push_back({.cache = &caches_[b],
                       .tokens = std::span(next_).subspan(b, 1),
                       .logits_for = engine::LogitsFor::token});
  }
  transformer_.run(slices_, prompt_);
  std::ranges::copy(transformer_.chosen_tokens(), next_.begin());
}

StepLatencies StreamBatch::time_decoding(std::int64_t n_steps, std::int64_t n_warmup) {
  for (std::int64_t step = 0; step < n_warmup; ++step) {
    decode();
  }
  Progress progress("steps", n_steps);
  const double cpu_before_s = process_cpu_s();
  std::vector<double> steps_s;
  steps_s.reserve(static_cast<std::size_t>(n_steps));
  for (std::int64_t step = 0; step < n_steps; ++step) {
    const auto start = Clock::now();
    decode();
    steps_s.push_back(seconds_since(start));
    progress.advance();
  }
  return {std::move(steps_s), process_cpu_s() - cpu_before_s};
}

std::size_t StreamBatch::cache_bytes() const {
  return std::accumulate(caches_.begin(), caches_.end(), std::size_t{0},
                         [](std::size_t sum, const auto& cache) { return sum + cache.bytes(); });
}

std::size_t StreamBatch::bytes_read_per_step() const {
  const engine::Weights& weights = model_.weights;
  return cache_bytes() + weights.bytes() - (weights.output ? weights.embedding->bytes() : 0);
}

}  // namespace condensed::eval
