#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model_config.h"
#include "kernels/backend.h"

namespace condensed::engine {

/// Whether a tensor belongs to a decoder layer, rather than to the embedding or the output layer.
inline bool is_of_layer(const std::string& name) {
  return name.starts_with("model.layers.");
}

/// Where a model's weights come from. What it hands out stays valid as long as the source.
class WeightSource {
 public:
  WeightSource() = default;
  virtual ~WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;

  virtual const ModelConfig& config() const = 0;

  /// Throw InputError when there is no such tensor of that shape.
  virtual kernels::MatrixView matrix(const std::string& name, std::int64_t rows, std::int64_t cols) = 0;
  virtual std::vector<float> vector(const std::string& name, std::int64_t size) = 0;
};

}  // namespace condensed::engine
