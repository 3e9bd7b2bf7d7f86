#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/layer_plan.h"
#include "engine/tokenizer.h"
#include "engine/weight_source.h"
#include "engine/weights.h"
#include "kernels/backend.h"

namespace condensed::engine {

/// Everything that runs need. Immutable but for the backend, which one thread uses at a time.
struct Model {
  std::string name;
  ModelConfig config;
  LayerPlan plan;
  std::unique_ptr<WeightSource> source;  // what the weights lie in
  std::unique_ptr<kernels::Backend> backend;
  Weights weights;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the folder has no tokenizer.model
};

/// Loads `folder` (Hugging Face layout), its name that of the folder. format: what to store weights as,
/// nothing for what the files hold. Throws InputError.
std::shared_ptr<Model> load_model(const std::filesystem::path& folder,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format = std::nullopt);

/// A model without tokenizer.
std::shared_ptr<Model> make_model(std::string name, std::unique_ptr<WeightSource> source,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format = std::nullopt);

}  // namespace condensed::engine
