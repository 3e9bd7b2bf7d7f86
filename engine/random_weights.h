#pragma once

#include <vector>

#include "engine/host_pages.h"
#include "engine/weight_format.h"
#include "engine/weight_source.h"

namespace condensed::engine {

/// Random weights of any shape, for measuring speed where no checkpoint is at hand: small enough that
/// activations stay finite, drawn in the format itself.
class RandomWeights final : public WeightSource {
 public:
  RandomWeights(ModelConfig config, const WeightFormat& format);

  const ModelConfig& config() const override { return config_; }
  kernels::MatrixView matrix(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::vector<float> vector(const std::string& name, std::int64_t size) override;

 private:
  ModelConfig config_;
  WeightFormat format_;
  std::vector<HostPages> pages_;
};

}  // namespace condensed::engine
