#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/layer_plan.h"
#include "engine/weight_source.h"
#include "engine/weights.h"
#include "kernels/backend.h"

namespace condensed::engine {

class Tokenizer;

/// Everything that runs need. Immutable but for the backend, which one thread uses at a time.
struct Model {
  std::string name;
  ModelConfig config;
  LayerPlan plan;
  std::unique_ptr<WeightSource> source;  // what the weights lie in
  std::unique_ptr<kernels::Backend> backend;
  Weights weights;
  /// Null when the folder has no tokenizer.model. Shared, since what computes a model does without its code.
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<WeightFormat> format;  // what weights are stored as; nothing: as the source has them
  std::uint64_t sample_hash = 0;       // of what load_weights() says of the weights; 0: of a model not loaded
};

/// Loads `folder` (Hugging Face layout), its name that of the folder. format: what to store weights as,
/// nothing for what the files hold. Throws InputError.
std::shared_ptr<Model> load_model(const std::filesystem::path& folder,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format = std::nullopt);

/// A model without tokenizer. on_sample: as load_weights() has it.
std::shared_ptr<Model> make_model(std::string name, std::unique_ptr<WeightSource> source,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format = std::nullopt,
                                  const OnWeightSample& on_sample = nullptr);

/// Loads the weights anew, on the backend that `make` gives. The old backend goes before: nothing may hold
/// memory of it any more. When `make` or loading throws, the model has neither backend nor weights, and this
/// is to be called again.
void reload_model(Model& model, const std::function<std::unique_ptr<kernels::Backend>()>& make);

}  // namespace condensed::engine
