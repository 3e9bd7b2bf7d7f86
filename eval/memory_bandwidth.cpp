#include "eval/memory_bandwidth.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include "engine/host_pages.h"

namespace condensed::eval {

double read_bandwidth_bytes_per_s(int n_threads) {
  using Clock = std::chrono::steady_clock;
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
    best = std::max(
        best, static_cast<double>(kBytes) / std::chrono::duration<double>(Clock::now() - start).count());
  }
  if (std::ranges::all_of(results, [](std::uint64_t sum) { return sum == 0; })) {
    throw std::logic_error("the bandwidth measurement read nothing");  // keeps the sums alive
  }
  return best;
}

double copy_bandwidth_bytes_per_s(kernels::Backend& backend, std::size_t n_bytes) {
  const std::size_t n = n_bytes / sizeof(float);
  const kernels::Memory from = backend.allocate(n * sizeof(float));
  const kernels::Memory to = backend.allocate(n * sizeof(float));
  const std::span<const float> source(reinterpret_cast<const float*>(from.get()), n);
  const std::span<float> target(reinterpret_cast<float*>(to.get()), n);
  constexpr int kPasses = 10;
  constexpr int kCopies = 4;  // so that waiting for the device does not count
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    backend.max_abs_difference(source.first(1), target.first(1));  // waits for the device
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCopies; ++i) {
      backend.copy(source, target);
    }
    backend.max_abs_difference(source.first(1), target.first(1));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2.0 * kCopies * static_cast<double>(n * sizeof(float)) / seconds);
  }
  return best;
}

}  // namespace condensed::eval
