// Kernels at TinyLlama's shapes, and the memory's read bandwidth to compare them with. Matrices come from a
// pool larger than any cache, as the layers of a model do. Run with --benchmark_repetitions for a spread.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/cpu/thread_team.h"
#include "kernels/make_backend.h"
#include "kernels/stored_row.h"

namespace condensed::kernels {

namespace {

constexpr std::size_t kPoolBytes = 256U << 20;

// $CONDENSED_KERNELS chooses, as the daemon's setting does.
const char* kind() {
  const char* chosen = std::getenv("CONDENSED_KERNELS");
  return chosen != nullptr ? chosen : "auto";
}

std::span<float> floats(const Memory& memory, std::int64_t n) {
  return {reinterpret_cast<float*>(memory.get()), static_cast<std::size_t>(n)};
}

// Stored rows of `cols` random numbers.
Memory random_rows(Backend& backend, DType dtype, std::int64_t rows, std::int64_t cols) {
  std::minstd_rand random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> row(static_cast<std::size_t>(cols));
  Memory memory = backend.allocate(static_cast<std::size_t>(rows * row_bytes(dtype, cols)));
  for (std::int64_t r = 0; r < rows; ++r) {
    std::ranges::generate(row, [&] { return uniform(random); });
    store_row(dtype, row, memory.get() + r * row_bytes(dtype, cols));
  }
  return memory;
}

benchmark::Counter rate(double per_iteration) {
  return {per_iteration, benchmark::Counter::kIsIterationInvariantRate};
}

// Argument: threads.
void memory_read(benchmark::State& state) {
  ThreadTeam team(static_cast<int>(state.range(0)));
  const std::vector<std::uint64_t> words(kPoolBytes / sizeof(std::uint64_t), 1);
  constexpr std::int64_t kUnroll = 8;
  for (auto _ : state) {
    team.run(std::ssize(words) / kUnroll, 4096, [&](int, std::int64_t begin, std::int64_t end) {
      std::uint64_t sums[kUnroll] = {};
      for (const std::uint64_t* at = words.data() + begin * kUnroll; at < words.data() + end * kUnroll;
           at += kUnroll) {
        for (std::int64_t i = 0; i < kUnroll; ++i) {
          sums[i] += at[i];
        }
      }
      benchmark::DoNotOptimize(sums);
    });
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kPoolBytes));
}
BENCHMARK(memory_read)->ArgName("threads")->Arg(1)->Arg(0)->UseRealTime();

// Arguments: outputs, cols, rows, threads (0: all).
void matmul(benchmark::State& state, DType dtype) {
  const std::int64_t outputs = state.range(0);
  const std::int64_t cols = state.range(1);
  const std::int64_t rows = state.range(2);
  const auto backend = make_backend(kind(), static_cast<int>(state.range(3)));
  const auto matrix_bytes = static_cast<std::size_t>(outputs * row_bytes(dtype, cols));
  const std::size_t n_matrices = (kPoolBytes + matrix_bytes - 1) / matrix_bytes;
  const Memory weights = backend->allocate(matrix_bytes * n_matrices);
  const Memory one = random_rows(*backend, dtype, outputs, cols);
  std::vector<std::unique_ptr<Matrix>> matrices;
  for (std::size_t i = 0; i < n_matrices; ++i) {
    std::memcpy(weights.get() + i * matrix_bytes, one.get(), matrix_bytes);
    matrices.push_back(backend->load_matrix({dtype, weights.get() + i * matrix_bytes, outputs, cols}));
  }
  const Memory x = random_rows(*backend, DType::f32, rows, cols);
  const Memory out = backend->allocate(static_cast<std::size_t>(rows * outputs) * sizeof(float));
  std::size_t next = 0;
  for (auto _ : state) {
    backend->matmul(*matrices[next], floats(x, rows * cols), floats(out, rows * outputs));
    next = (next + 1) % n_matrices;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * matrix_bytes));
  state.counters["flops"] = rate(2.0 * static_cast<double>(rows * outputs * cols));
}

void tinyllama_shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"outputs", "cols", "rows", "threads"})->UseRealTime();
  benchmark->ArgsProduct({{2048, 5632, 32000}, {2048}, {1, 4, 16, 64}, {0}});
  benchmark->Args({2048, 5632, 1, 0})->Args({2048, 5632, 16, 0});
  benchmark->Args({5632, 2048, 1, 1})->Args({5632, 2048, 16, 1});
}
BENCHMARK_CAPTURE(matmul, q4, DType::q4)->Apply(tinyllama_shapes);
BENCHMARK_CAPTURE(matmul, q8, DType::q8)->Apply(tinyllama_shapes);
BENCHMARK_CAPTURE(matmul, bf16, DType::bf16)->Apply(tinyllama_shapes);
BENCHMARK_CAPTURE(matmul, f32, DType::f32)->Apply(tinyllama_shapes);

// A model small enough for the second-level cache, where waking threads can cost more than it gains.
void small_shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"outputs", "cols", "threads"})->UseRealTime();
  benchmark->ArgsProduct({{128, 352, 1024}, {128}, {1, 0}});
}
void small_matmul(benchmark::State& state) {
  const std::int64_t outputs = state.range(0);
  const std::int64_t cols = state.range(1);
  const auto backend = make_backend(kind(), static_cast<int>(state.range(2)));
  const Memory weights = random_rows(*backend, DType::f32, outputs, cols);
  const auto matrix = backend->load_matrix({DType::f32, weights.get(), outputs, cols});
  const Memory x = random_rows(*backend, DType::f32, 1, cols);
  const Memory out = backend->allocate(static_cast<std::size_t>(outputs) * sizeof(float));
  for (auto _ : state) {
    backend->matmul(*matrix, floats(x, cols), floats(out, outputs));
  }
}
BENCHMARK(small_matmul)->Apply(small_shapes);

// One token of TinyLlama: 32 heads of 64 share 4 key-value heads. Arguments: cached tokens, threads (0: all).
void attend(benchmark::State& state, DType dtype) {
  constexpr AttentionShape kShape{32, 4, 64};
  constexpr std::int64_t kQuery = std::int64_t{kShape.n_heads} * kShape.head_dim;
  const std::int64_t tokens = state.range(0);
  const auto backend = make_backend(kind(), static_cast<int>(state.range(1)));
  const std::int64_t row = row_bytes(dtype, kShape.head_dim);
  const Memory keys = random_rows(*backend, dtype, tokens * kShape.n_kv_heads, kShape.head_dim);
  const Memory values = random_rows(*backend, dtype, tokens * kShape.n_kv_heads, kShape.head_dim);
  const Memory queries = random_rows(*backend, DType::f32, 1, kQuery);
  const Memory out = backend->allocate(kQuery * sizeof(float));
  const KvRun run{.keys = keys.get(),
                  .values = values.get(),
                  .n_tokens = static_cast<std::int32_t>(tokens),
                  .token_stride_bytes = static_cast<std::int32_t>(row),
                  .head_stride_bytes = static_cast<std::int32_t>(tokens * row),
                  .dtype = dtype,
                  .frame = Frame::stream};
  const std::vector<std::int32_t> run_begin = {0, 1};
  for (auto _ : state) {
    backend->attend(kShape, floats(queries, kQuery), floats(queries, kQuery), {&run, 1}, run_begin,
                    floats(out, kQuery));
  }
  state.SetBytesProcessed(state.iterations() * 2 * tokens * kShape.n_kv_heads * row);
  state.counters["flops"] = rate(4.0 * static_cast<double>(tokens * kQuery));
}

void windows(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"tokens", "threads"})->UseRealTime();
  benchmark->ArgsProduct({{256, 1020, 4096}, {1, 0}});
}
BENCHMARK_CAPTURE(attend, q8, DType::q8)->Apply(windows);
BENCHMARK_CAPTURE(attend, bf16, DType::bf16)->Apply(windows);
BENCHMARK_CAPTURE(attend, f32, DType::f32)->Apply(windows);

// What stands between the products of a layer, for one row of TinyLlama.
void rms_norm(benchmark::State& state) {
  const auto backend = make_backend(kind(), 1);
  const auto cols = static_cast<std::size_t>(state.range(0));
  const std::vector<double> x(cols, 0.5);
  const std::vector<float> weight(cols, 1.0F);
  std::vector<float> out(cols);
  for (auto _ : state) {
    backend->rms_norm(x, weight, 1e-5F, out);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(rms_norm)->Arg(2048);

void rotate(benchmark::State& state) {
  const auto backend = make_backend(kind(), 1);
  const std::vector<float> angles(64, 0.5F);
  std::vector<float> heads(static_cast<std::size_t>(64 * state.range(0)), 0.5F);
  for (auto _ : state) {
    backend->rotate(heads, angles, 64, heads);
  }
  state.SetItemsProcessed(state.iterations() * 64 * state.range(0));
}
BENCHMARK(rotate)->ArgName("heads")->Arg(32);

// The product of a layer's gate and up projections. Arguments: rows, threads (0: all).
void swiglu(benchmark::State& state, DType dtype) {
  constexpr std::int64_t kHidden = 2048;
  constexpr std::int64_t kIntermediate = 5632;
  const std::int64_t rows = state.range(0);
  const auto backend = make_backend(kind(), static_cast<int>(state.range(1)));
  const Memory weights = random_rows(*backend, dtype, 2 * kIntermediate, kHidden);
  const std::int64_t half = kIntermediate * row_bytes(dtype, kHidden);
  const auto gate = backend->load_matrix({dtype, weights.get(), kIntermediate, kHidden});
  const auto up = backend->load_matrix({dtype, weights.get() + half, kIntermediate, kHidden});
  const Memory x = random_rows(*backend, DType::f32, rows, kHidden);
  const Memory out = backend->allocate(static_cast<std::size_t>(rows * kIntermediate) * sizeof(float));
  for (auto _ : state) {
    backend->swiglu(*gate, *up, floats(x, rows * kHidden), floats(out, rows * kIntermediate));
  }
  state.SetBytesProcessed(state.iterations() * 2 * half);
  state.counters["flops"] = rate(4.0 * static_cast<double>(rows * kIntermediate * kHidden));
}
void swiglu_rows(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"rows", "threads"})->UseRealTime();
  benchmark->ArgsProduct({{1, 16}, {0}});
}
BENCHMARK_CAPTURE(swiglu, q4, DType::q4)->Apply(swiglu_rows);
BENCHMARK_CAPTURE(swiglu, q8, DType::q8)->Apply(swiglu_rows);

}  // namespace

}  // namespace condensed::kernels
