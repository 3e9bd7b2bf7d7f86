#include "eval/random_model.h"

#include <filesystem>
#include <utility>

#include "engine/file_text.h"
#include "engine/input_error.h"
#include "engine/json_value.h"
#include "engine/layer_plan.h"
#include "engine/random_weights.h"

namespace condensed::eval {

using engine::InputError;

namespace {

struct NamedShape {
  std::string_view name;
  int layers;
  int hidden;
  int heads;
  int kv_heads;
  int intermediate;
};
constexpr NamedShape kShapes[] = {{"tinyllama", 22, 2048, 32, 4, 5632},
                                  {"llama-7b", 32, 4096, 32, 32, 11008},
                                  {"llama-30b", 60, 6656, 52, 52, 17920}};

engine::JsonObject config_of(const std::string& shape) {
  for (const NamedShape& named : kShapes) {
    if (named.name == shape) {
      return {{"model_type", "lckv-llama"},
              {"vocab_size", 32000},
              {"hidden_size", named.hidden},
              {"intermediate_size", named.intermediate},
              {"num_hidden_layers", named.layers},
              {"num_attention_heads", named.heads},
              {"num_key_value_heads", named.kv_heads},
              {"rms_norm_eps", 1e-5}};
    }
  }
  const std::string expected =
      "random shape \"" + shape + "\": expected tinyllama, llama-7b, llama-30b or the path of a config.json";
  if (!std::filesystem::exists(shape)) {
    throw InputError(expected);
  }
  return engine::parse_json_object(engine::file_text(shape), expected);
}

}  // namespace

engine::ModelConfig random_model_config(const std::string& shape, const std::string& layer_types) {
  engine::JsonObject config = config_of(shape);
  if (layer_types == "plain") {
    config.erase("layer_types");
  } else if (layer_types.starts_with("w=")) {
    const engine::JsonValue* layers = config.find("num_hidden_layers");
    const auto* n_layers = layers != nullptr ? layers->if_integer() : nullptr;
    config.set("layer_types", engine::sandwich_layer_types(
                                  n_layers != nullptr ? static_cast<int>(*n_layers) : 0, layer_types));
  } else if (!layer_types.empty()) {
    config.set("layer_types", layer_types);
  }
  config.erase("quantization_config");
  return engine::parse_model_config(config, shape);
}

std::shared_ptr<engine::Model> random_model(const std::string& shape, const std::string& layer_types,
                                            const engine::WeightFormat& format,
                                            std::unique_ptr<kernels::Backend> backend) {
  return engine::make_model(
      shape, std::make_unique<engine::RandomWeights>(random_model_config(shape, layer_types), format),
      std::move(backend));
}

}  // namespace condensed::eval
