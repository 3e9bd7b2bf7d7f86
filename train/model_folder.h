#pragma once

#include <filesystem>
#include <string>

#include <boost/json.hpp>

#include "engine/model_config.h"
#include "kernels/dtype.h"
#include "train/parameters.h"

namespace condensed::train {

/// A JSON file as it is: of a config.json, keys that condensed does not read included. Throws InputError.
boost::json::object read_json_object(const std::filesystem::path& file);

/// What the engine makes of such a configuration; `place` names it in errors. Throws InputError.
engine::ModelConfig model_config(const boost::json::object& config, const std::string& place);

/// The configuration of a condensed model made of `plain`'s: type, class, layer types and passes.
boost::json::object condensed_config(boost::json::object plain, const std::string& layer_types,
                                     std::int64_t forward_passes, std::int64_t backward_passes);

/// A model folder in the Hugging Face layout: config.json, model.safetensors in `dtype` (f32, bf16 or f16),
/// and `tokenizer_model`, unless that is empty. Throws InputError, also when `folder` holds a model already.
void write_model_folder(const std::filesystem::path& folder, boost::json::object config,
                        Parameters parameters, kernels::DType dtype,
                        const std::filesystem::path& tokenizer_model);

}  // namespace condensed::train
