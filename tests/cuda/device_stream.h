#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/transformer.h"
#include "tests/engine/golden_case.h"
#include "tests/kernels/cuda_emulation/emulated_backend.h"
#include "tests/kernels/cuda_emulation/runtime_calls.h"

/// Whole models on the emulated device. Its memory is out of the host's reach: who touches it outside a
/// kernel or a copy ends the test with a fault.
namespace condensed::engine::test {

inline const bool kMemoryIsProtected = [] {
  emulation::protect_device_memory();
  return true;
}();

inline std::shared_ptr<Model> device_model(const std::string& golden_case) {
  return load_model(folder_of(golden_case), emulation::make_emulated_backend());
}

/// Streams that read tokens in steps together.
class Streams {
 public:
  Streams(std::shared_ptr<Model> model, std::int64_t max_rows, const cache::StreamWindow& window,
          std::int64_t n, kernels::DType cache_dtype = kernels::DType::f32)
      : model_(std::move(model)), transformer_(*model_, max_rows, cache_dtype) {
    for (std::int64_t s = 0; s < n; ++s) {
      caches_.push_back(
          std::make_unique<cache::CondensedCache>(*model_->backend, transformer_.cache_shape(), window));
    }
  }

  Model& model() { return *model_; }
  Transformer& transformer() { return transformer_; }
  cache::CondensedCache& cache(std::int64_t s) { return *caches_[static_cast<std::size_t>(s)]; }
  /// Instead of stream s, an empty one.
  void renew(std::int64_t s) {
    auto& cache = caches_[static_cast<std::size_t>(s)];
    cache = std::make_unique<cache::CondensedCache>(*model_->backend, cache->shape(), cache->window());
  }

  /// Logits of the next token of each of these streams.
  std::vector<std::vector<float>> step(const std::vector<std::int64_t>& streams,
                                       const std::vector<std::int32_t>& tokens) {
    std::vector<Slice> slices;
    for (std::size_t i = 0; i < streams.size(); ++i) {
      slices.push_back(
          {.cache = &cache(streams[i]), .tokens = {&tokens[i], 1}, .logits_for = LogitsFor::last});
    }
    transformer_.run(slices, {});
    std::vector<std::vector<float>> logits;
    const auto vocab = static_cast<std::size_t>(model_->config.vocab_size);
    for (std::size_t i = 0; i < streams.size(); ++i) {
      const auto row = transformer_.logits().subspan(i * vocab, vocab);
      logits.emplace_back(row.begin(), row.end());
    }
    return logits;
  }

 private:
  std::shared_ptr<Model> model_;
  Transformer transformer_;
  std::vector<std::unique_ptr<cache::CondensedCache>> caches_;
};

inline std::int32_t greedy(const std::vector<float>& logits) {
  return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace condensed::engine::test
