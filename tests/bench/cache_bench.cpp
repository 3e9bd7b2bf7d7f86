// What one token costs the cache, with TinyLlama's shape and three owning layers, the window full: an
// eviction.

#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "cache/condensed_cache.h"
#include "kernels/make_backend.h"

namespace condensed::cache {

namespace {

// Argument: window.
void evict(benchmark::State& state, kernels::DType dtype) {
  const auto backend = kernels::make_backend("auto", 1);
  const CacheShape shape{.n_owners = 3, .n_kv_heads = 4, .head_dim = 64, .dtype = dtype};
  CondensedCache cache(*backend, shape, {4, state.range(0)});
  const std::vector<float> row(static_cast<std::size_t>(shape.n_kv_heads) * shape.head_dim, 0.5F);
  const std::vector<PendingRows> pending(3, {.keys = row.data(), .values = row.data()});
  while (cache.evictions() == 0) {
    cache.append(1, pending);
  }
  for (auto _ : state) {
    cache.append(1, pending);
  }
  state.SetItemsProcessed(state.iterations());
}

void windows(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("window")->RangeMultiplier(4)->Range(256, 16384);
}
BENCHMARK_CAPTURE(evict, f32, kernels::DType::f32)->Apply(windows);
BENCHMARK_CAPTURE(evict, f16, kernels::DType::f16)->Apply(windows);
BENCHMARK_CAPTURE(evict, q8, kernels::DType::q8)->Apply(windows);

}  // namespace

}  // namespace condensed::cache
