// Drawing a token allocates nothing once a row of logits has been seen.

#include <atomic>
#include <cstdlib>
#include <new>
#include <random>

#include <gtest/gtest.h>

#include "engine/sampler.h"

namespace {
std::atomic<long> n_allocations{0};
}

// They replace those of the whole test program. Never inlined: the compiler would warn of free() meeting new.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  n_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* data = std::malloc(bytes == 0 ? 1 : bytes)) {
    return data;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  n_allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void operator delete(void* data) noexcept {
  std::free(data);
}
[[gnu::noinline]] void operator delete(void* data, std::size_t) noexcept {
  std::free(data);
}

namespace condensed::engine {

TEST(Sampler, DrawingAllocatesNothing) {
  std::mt19937 random(1);
  std::vector<float> logits(2000);
  for (float& logit : logits) logit = static_cast<float>(random() % 1000) / 100;
  SamplingOptions options;
  options.top_k = 1500;
  options.top_p = 0.95;
  options.min_p = 0.001;
  options.repetition_penalty = 1.1;
  options.frequency_penalty = 0.1;
  options.logit_bias = {{3, 1.0F}};
  Sampler sampler(options, 2000, 1);
  sampler.draw(logits);
  const long before = n_allocations;
  for (int i = 0; i < 200; ++i) {
    sampler.observe(sampler.draw(logits));
  }
  EXPECT_EQ(n_allocations - before, 0);
  EXPECT_GT(before, 0);  // they are counted at all
}

}  // namespace condensed::engine
