// What a model costs per token: prompts, decoding, memory, and how much of the machine's bandwidth that is.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "engine/host_pages.h"
#include "engine/input_error.h"
#include "engine/prompt_planner.h"
#include "engine/transformer.h"
#include "eval/commands.h"
#include "eval/progress.h"
#include "eval/random_model.h"
#include "kernels/make_backend.h"

namespace condensed::eval {

namespace json = boost::json;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Bytes per second that the threads together read from memory, the best of a few passes.
double read_bandwidth(int n_threads) {
  constexpr std::size_t kBytes = std::size_t{512} << 20;
  constexpr int kPasses = 6;
  constexpr std::size_t kSums = 8;
  const engine::HostPages pages(kBytes);
  std::ranges::fill(pages.bytes(), std::byte{1});
  const auto* words = reinterpret_cast<const std::uint64_t*>(pages.bytes().data());
  const std::size_t n_words = kBytes / sizeof(std::uint64_t);
  std::vector<std::uint64_t> results(static_cast<std::size_t>(n_threads));
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = Clock::now();
    {
      std::vector<std::jthread> threads;
      for (std::size_t t = 0; t < results.size(); ++t) {
        threads.emplace_back([&, t] {
          std::uint64_t sums[kSums] = {};
          const std::size_t end = n_words * (t + 1) / results.size() / kSums * kSums;
          for (std::size_t i = n_words * t / results.size() / kSums * kSums; i < end; i += kSums) {
            for (std::size_t s = 0; s < kSums; ++s) {
              sums[s] += words[i + s];
            }
          }
          results[t] += std::accumulate(std::begin(sums), std::end(sums), std::uint64_t{0});
        });
      }
    }
    best = std::max(best, static_cast<double>(kBytes) / seconds_since(start));
  }
  if (std::ranges::all_of(results, [](std::uint64_t sum) { return sum == 0; })) {
    throw std::logic_error("the bandwidth measurement read nothing");  // keeps the sums alive
  }
  return best;
}

/// What one step reads besides caches: all matrices but the embedding, of which it reads single rows.
std::size_t weight_bytes_per_step(const engine::Weights& weights) {
  return weights.bytes() - (weights.output ? weights.embedding->bytes() : 0);
}

struct Latencies {
  explicit Latencies(std::vector<double> values) : sorted(std::move(values)) { std::ranges::sort(sorted); }

  double at(double quantile) const {
    const auto rank = static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(sorted.size())));
    return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
  }
  double mean() const {
    return std::accumulate(sorted.begin(), sorted.end(), 0.0) / static_cast<double>(sorted.size());
  }

  std::vector<double> sorted;
};

/// B streams side by side.
class Batch {
 public:
  Batch(engine::Model& model, const ThroughputOptions& options, std::int64_t batch,
        const cache::StreamWindow& window)
      : model_(model),
        prompt_(options.run.prompt()),
        transformer_(model, batch * chunk(), options.run.cache()),
        planner_(engine::PromptPlanner::measured(model, transformer_, prompt_)),
        random_(1) {
    for (std::int64_t b = 0; b < batch; ++b) {
      caches_.emplace_back(*model.backend, transformer_.cache_shape(), window);
    }
    next_.assign(static_cast<std::size_t>(batch), 1);
  }

  /// Makes every window full without computing what is in it.
  void fill() {
    constexpr std::int64_t kRows = 64;
    const cache::CacheShape shape = transformer_.cache_shape();
    std::vector<float> numbers(static_cast<std::size_t>(kRows * shape.n_kv_heads * shape.head_dim));
    std::normal_distribution<float> normal;
    std::ranges::generate(numbers, [&] { return normal(random_); });
    const std::vector<cache::PendingRows> pending(static_cast<std::size_t>(shape.n_owners),
                                                  {.keys = numbers.data(), .values = numbers.data()});
    for (cache::CondensedCache& cache : caches_) {
      while (cache.evictions() == 0) {
        cache.append(std::min(kRows, cache.window().capacity() + 1 - cache.size()), pending);
      }
    }
  }

  /// Reads a prompt of n random tokens into every stream; returns the seconds it took.
  double read_prompts(std::int64_t n) {
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

  /// One token for every stream, chosen greedily.
  void decode() {
    slices_.clear();
    for (std::size_t b = 0; b < caches_.size(); ++b) {
      slices_.push_back({.cache = &caches_[b],
                         .tokens = std::span(next_).subspan(b, 1),
                         .logits_for = engine::LogitsFor::last});
    }
    transformer_.run(slices_, prompt_);
    std::span<const float> logits = transformer_.logits();
    const auto vocab_size = static_cast<std::size_t>(model_.config.vocab_size);
    for (std::int32_t& next : next_) {
      next = static_cast<std::int32_t>(std::ranges::max_element(logits.first(vocab_size)) - logits.begin());
      logits = logits.subspan(vocab_size);
    }
  }

  std::size_t cache_bytes() const {
    return std::accumulate(caches_.begin(), caches_.end(), std::size_t{0},
                           [](std::size_t sum, const auto& cache) { return sum + cache.bytes(); });
  }
  const cache::CondensedCache& first() const { return caches_.front(); }
  void skip(std::int64_t n) {
    for (cache::CondensedCache& cache : caches_) {
      cache.skip(n);
    }
  }

 private:
  std::int64_t chunk() const { return prompt_.slice_tokens(prompt_.chunk_tokens); }

  engine::Model& model_;
  engine::PromptOptions prompt_;
  engine::Transformer transformer_;
  engine::PromptPlanner planner_;
  std::minstd_rand random_;
  std::vector<cache::CondensedCache> caches_;
  std::vector<std::int32_t> next_;
  std::vector<engine::Slice> slices_;
};

json::object measure(engine::Model& model, const ThroughputOptions& options, std::int64_t batch_size,
                     const cache::StreamWindow& window, double bandwidth) {
  Batch batch(model, options, batch_size, window);
  json::object report{{"batch", batch_size}, {"sinks", window.sinks}, {"window", window.window}};
  if (options.prompt_tokens > 0) {
    const double seconds = batch.read_prompts(options.prompt_tokens);
    report["prompt_tokens"] = options.prompt_tokens;
    report["prompt_tokens_per_s"] = static_cast<double>(batch_size * options.prompt_tokens) / seconds;
  }
  if (options.fill) {
    batch.fill();
  }
  if (options.skip > 0) {
    batch.skip(options.skip);
    batch.fill();
  }
  for (int warmup = 0; warmup < 3; ++warmup) {
    batch.decode();
  }
  Progress progress("steps", options.tokens);
  std::vector<double> steps_s;
  steps_s.reserve(static_cast<std::size_t>(options.tokens));
  for (std::int64_t step = 0; step < options.tokens; ++step) {
    const auto start = Clock::now();
    batch.decode();
    steps_s.push_back(seconds_since(start));
    progress.advance();
  }
  const Latencies latencies(std::move(steps_s));
  const double tokens_per_s = static_cast<double>(batch_size) / latencies.mean();
  const double bytes_per_token =
      static_cast<double>(weight_bytes_per_step(model.weights) + batch.cache_bytes()) /
      static_cast<double>(batch_size);
  report["decode_tokens"] = batch_size * options.tokens;
  report["decode_tokens_per_s"] = tokens_per_s;
  report["step_ms"] =
      json::object{{"mean", latencies.mean() * 1e3},     {"p50", latencies.at(0.5) * 1e3},
                   {"p90", latencies.at(0.9) * 1e3},     {"p99", latencies.at(0.99) * 1e3},
                   {"p99.9", latencies.at(0.999) * 1e3}, {"max", latencies.sorted.back() * 1e3}};
  report["position"] = batch.first().position();
  report["weight_bytes"] = model.weights.bytes();
  report["session_bytes"] = batch.first().bytes();
  report["bytes_read_per_token"] = bytes_per_token;
  report["bandwidth_share"] = bytes_per_token * tokens_per_s / bandwidth;
  return report;
}

void print_row(const json::object& row) {
  const json::object& step = row.at("step_ms").as_object();
  const json::value* prompt = row.if_contains("prompt_tokens_per_s");
  char line[200];
  std::snprintf(
      line, sizeof(line), "%6lld %8lld %12.1f %12.1f %10.2f %10.2f %10.2f %12.3f %8.0f%%",
      static_cast<long long>(row.at("batch").as_int64()), static_cast<long long>(row.at("window").as_int64()),
      prompt != nullptr ? prompt->as_double() : 0.0, row.at("decode_tokens_per_s").as_double(),
      step.at("p50").as_double(), step.at("p99").as_double(), step.at("p99.9").as_double(),
      row.at("session_bytes").to_number<double>() / 1e6, row.at("bandwidth_share").as_double() * 100);
  std::cout << line << std::endl;
}

}  // namespace

json::object run_throughput(const ThroughputOptions& options) {
  const RunOptions& run = options.run;
  if (run.model.empty() == options.random.empty()) {
    throw engine::InputError("give either --model DIR or --random SHAPE");
  }
  std::shared_ptr<engine::Model> model;
  if (options.random.empty()) {
    model = run.load();
  } else {
    const auto format = engine::parse_weight_format(run.weights == "stored" ? "bf16" : run.weights);
    model = random_model(options.random, options.layer_types, *format,
                         kernels::make_backend(run.kernels, run.threads));
  }
  const int n_threads = run.threads > 0 ? run.threads : static_cast<int>(std::thread::hardware_concurrency());
  const double bandwidth = read_bandwidth(n_threads);
  std::vector<std::int64_t> batches{options.batch};
  std::vector<std::int64_t> windows{run.window.value_or(1020)};
  if (options.sweep) {
    batches = {1, 2, 4, 8, 16, 32, 64};
    windows = {256, 1020, 4096};
  }
  json::object report{{"model", model->name},           {"backend", std::string(model->backend->name())},
                      {"threads", n_threads},           {"weights", run.weights},
                      {"cache_dtype", run.cache_dtype}, {"prefill", run.prefill},
                      {"filled", options.fill},         {"read_bytes_per_s", bandwidth}};
  if (!options.json) {
    std::printf("%s, %s weights, %s cache, %d threads of %s kernels; memory reads %.1f GB/s\n",
                model->name.c_str(), run.weights.c_str(), run.cache_dtype.c_str(), n_threads,
                std::string(model->backend->name()).c_str(), bandwidth / 1e9);
    std::printf("%6s %8s %12s %12s %10s %10s %10s %12s %9s\n", "batch", "window", "prompt tok/s",
                "decode tok/s", "p50 ms", "p99 ms", "p99.9 ms", "session MB", "of memory");
    std::fflush(stdout);
  }
  json::array rows;
  for (const std::int64_t window : windows) {
    for (const std::int64_t batch : batches) {
      rows.push_back(measure(*model, options, batch, {run.sinks.value_or(4), window}, bandwidth));
      if (!options.json) {
        print_row(rows.back().as_object());
      }
    }
  }
  report["rows"] = std::move(rows);
  return report;
}

}  // namespace condensed::eval
