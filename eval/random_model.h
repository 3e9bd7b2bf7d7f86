#pragma once

#include <memory>
#include <string>

#include "engine/model.h"
#include "engine/weight_format.h"
#include "kernels/backend.h"

namespace condensed::eval {

/// What a random model is made by. shape: "tinyllama", "llama-7b", "llama-30b" or the path of a config.json;
/// layer_types: as in config.json, "plain" (every layer its own cache), "w=N" (the paper's sandwich with N
/// warmup layers), or empty for what the shape says. Throws InputError.
engine::ModelConfig random_model_config(const std::string& shape, const std::string& layer_types);

/// A model of random weights, by such a configuration. Throws InputError.
std::shared_ptr<engine::Model> random_model(const std::string& shape, const std::string& layer_types,
                                            const engine::WeightFormat& format,
                                            std::unique_ptr<kernels::Backend> backend);

}  // namespace condensed::eval
