#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model_config.h"
#include "engine/safetensors.h"
#include "engine/weight_source.h"

namespace condensed::engine {

/// A model folder in the Hugging Face layout: config.json and model.safetensors, or shards listed in
/// model.safetensors.index.json. Files stay mapped as long as the object lives.
class Checkpoint final : public WeightSource {
 public:
  /// Throws InputError naming the file (and tensor), what was expected and what was found.
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const ModelConfig& config() const override { return config_; }
  kernels::MatrixView matrix(const std::string& name, std::int64_t rows, std::int64_t cols) override;
  std::vector<float> vector(const std::string& name, std::int64_t size) override;

 private:
  void open_shards(const std::filesystem::path& index_file);
  const TensorView& tensor(const std::string& name, std::span<const std::int64_t> shape) const;

  std::filesystem::path folder_;
  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, const TensorView*> tensors_;  // into files_
};

}  // namespace condensed::engine
