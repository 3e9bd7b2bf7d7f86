#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "engine/checkpoint.h"
#include "engine/layer_plan.h"
#include "engine/tokenizer.h"
#include "engine/weights.h"
#include "kernels/backend.h"

namespace condensed::engine {

/// A checkpoint ready to run. Immutable but for the backend, which one thread uses at a time.
struct Model {
  std::string name;  // folder name
  Checkpoint checkpoint;
  LayerPlan plan;
  std::unique_ptr<kernels::Backend> backend;
  Weights weights;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the folder has no tokenizer.model
};

/// Loads `folder` (Hugging Face layout). Throws InputError.
std::shared_ptr<Model> load_model(const std::filesystem::path& folder,
                                  std::unique_ptr<kernels::Backend> backend);

}  // namespace condensed::engine
