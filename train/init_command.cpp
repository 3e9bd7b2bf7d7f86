#include <iostream>
#include <string>
#include <utility>

#include "engine/checkpoint.h"
#include "engine/input_error.h"
#include "engine/layer_plan.h"
#include "train/commands.h"
#include "train/model_folder.h"
#include "train/parameters.h"

namespace condensed::train {

namespace fs = std::filesystem;
namespace json = boost::json;
using engine::InputError;

namespace {

constexpr std::int64_t kForwardPasses = 7;  // m and b of arXiv 2405.10637, section 3
constexpr std::int64_t kBackwardPasses = 2;

json::object with_layer_types(json::object config, const engine::ModelConfig& shape,
                              const std::string& text) {
  if (text.empty()) {
    return config;
  }
  const std::string types =
      text.starts_with("w=") ? engine::sandwich_layer_types(shape.n_layers, text) : text;
  return condensed_config(std::move(config), types, kForwardPasses, kBackwardPasses);
}

}  // namespace

void run_init(const InitOptions& options) {
  const bool from_plain = !options.plain.empty();
  const fs::path config_file = from_plain ? options.plain / "config.json" : options.config;
  const engine::ModelConfig shape = engine::read_model_config(config_file);
  const json::object config = with_layer_types(read_json_object(config_file), shape, options.layer_types);
  const engine::ModelConfig made = model_config(config, config_file.string());

  Parameters parameters;
  fs::path tokenizer = options.tokenizer;
  if (from_plain) {
    engine::Checkpoint plain(options.plain);
    for (int layer = 0; layer < shape.n_layers; ++layer) {
      if (shape.layer_types[layer].owner != layer) {
        throw InputError(options.plain.string() + ": layer " + std::to_string(layer) +
                         " has no keys and values of its own; expected a plain Llama, whose layers all have");
      }
    }
    parameters = condense(shape, load_parameters(plain), made);
    if (tokenizer.empty() && fs::exists(options.plain / "tokenizer.model")) {
      tokenizer = options.plain / "tokenizer.model";
    }
  } else {
    parameters = random_parameters(made, options.standard_deviation, options.seed);
  }
  write_model_folder(options.out, config, std::move(parameters), kernels::DType::f32, tokenizer);
  std::cout << options.out.string() << ": " << count(made) << " parameters\n";
}

}  // namespace condensed::train
