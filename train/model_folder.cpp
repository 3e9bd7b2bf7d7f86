#include "train/model_folder.h"

#include <utility>
#include <vector>

#include "engine/file_text.h"
#include "engine/input_error.h"
#include "engine/json_value.h"
#include "engine/safetensors.h"
#include "train/whole_file.h"

namespace condensed::train {

namespace fs = std::filesystem;
namespace json = boost::json;
using engine::InputError;

json::object read_json_object(const fs::path& file) {
  json::error_code error;
  const json::value parsed = json::parse(engine::file_text(file), error);
  if (error || !parsed.is_object()) {
    throw InputError(file.string() + ": is no JSON object" + (error ? ": " + error.message() : ""));
  }
  return parsed.as_object();
}

engine::ModelConfig model_config(const json::object& config, const std::string& place) {
  return engine::parse_model_config(engine::parse_json_object(json::serialize(config), place), place);
}

json::object condensed_config(json::object plain, const std::string& layer_types, std::int64_t forward_passes,
                              std::int64_t backward_passes) {
  plain["architectures"] = {"LCKVLlamaForCausalLM"};
  plain["model_type"] = "lckv-llama";
  plain["layer_types"] = layer_types;
  // What the configuration says of these itself stays.
  plain.emplace("forward_passes", forward_passes);
  plain.emplace("backward_passes", backward_passes);
  plain.emplace("force_nodiag", false);
  return plain;
}

namespace {

struct Stored {
  torch::ScalarType type;
  engine::ElementType element;
  const char* name;  // torch_dtype of config.json
};

Stored stored_as(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::bf16:
      return {torch::kBFloat16, engine::ElementType::bf16, "bfloat16"};
    case kernels::DType::f16:
      return {torch::kFloat16, engine::ElementType::f16, "float16"};
    default:
      return {torch::kFloat32, engine::ElementType::f32, "float32"};
  }
}

}  // namespace

void write_model_folder(const fs::path& folder, json::object config, Parameters parameters,
                        kernels::DType dtype, const fs::path& tokenizer_model) {
  if (fs::exists(folder / "config.json")) {
    throw InputError(folder.string() + ": holds a model already; choose another folder or remove it");
  }
  if (!tokenizer_model.empty() && !fs::is_regular_file(tokenizer_model)) {
    throw InputError(tokenizer_model.string() + ": is no file");
  }
  const Stored stored = stored_as(dtype);
  config["torch_dtype"] = stored.name;

  std::vector<torch::Tensor> kept;  // what the views below look into
  std::vector<engine::TensorView> views;
  const engine::ModelConfig shape = model_config(config, "config.json");
  for (const NamedTensor& named : named_tensors(shape, parameters)) {
    kept.push_back(named.tensor->detach().to(torch::kCPU, stored.type).contiguous());
    const torch::Tensor& tensor = kept.back();
    views.push_back({.name = named.name,
                     .type = stored.element,
                     .shape = named.shape,
                     .data = {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()},
                     .file = {}});
  }
  fs::create_directories(folder);
  const fs::path part = folder / "model.safetensors.part";
  engine::write_safetensors(part, views);
  move_into_place(part, folder / "model.safetensors");
  if (!tokenizer_model.empty()) {
    fs::copy_file(tokenizer_model, folder / "tokenizer.model", fs::copy_options::overwrite_existing);
  }
  // Last: a folder with a config.json is whole.
  replace_file(folder / "config.json", json::serialize(config) + "\n");
}

}  // namespace condensed::train
