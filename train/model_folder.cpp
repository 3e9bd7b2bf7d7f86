#include "train/model_folder.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "engine/input_error.h"
#include "engine/safetensors.h"

namespace condensed::train {

namespace fs = std::filesystem;
namespace json = boost::json;
using engine::InputError;

json::object read_json_object(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  if (!in) {
    throw InputError(file.string() + ": cannot be read: " + std::strerror(errno));
  }
  json::error_code error;
  const json::value parsed = json::parse(content.str(), error);
  if (error || !parsed.is_object()) {
    throw InputError(file.string() + ": is no JSON object" + (error ? ": " + error.message() : ""));
  }
  return parsed.as_object();
}

json::object condensed_config(json::object plain, const std::string& layer_types, std::int64_t forward_passes,
                              std::int64_t backward_passes) {
  plain["architectures"] = {"LCKVLlamaForCausalLM"};
  plain["model_type"] = "lckv-llama";
  plain["layer_types"] = layer_types;
  plain["forward_passes"] = forward_passes;
  plain["backward_passes"] = backward_passes;
  if (!plain.contains("force_nodiag")) {
    plain["force_nodiag"] = false;
  }
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
  if (fs::exists(folder / "model.safetensors") || fs::exists(folder / "config.json")) {
    throw InputError(folder.string() + ": holds a model already; choose another folder or remove it");
  }
  fs::create_directories(folder);
  const Stored stored = stored_as(dtype);
  config["torch_dtype"] = stored.name;

  std::vector<torch::Tensor> kept;  // what the views below look into
  std::vector<engine::TensorView> views;
  const engine::ModelConfig shape = engine::parse_model_config(config, "config.json");
  for (const NamedTensor& named : named_tensors(shape, parameters)) {
    kept.push_back(named.tensor->detach().to(torch::kCPU, stored.type).contiguous());
    const torch::Tensor& tensor = kept.back();
    views.push_back({.name = named.name,
                     .type = stored.element,
                     .shape = named.shape,
                     .data = {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()},
                     .file = {}});
  }
  engine::write_safetensors(folder / "model.safetensors", views);
  if (!tokenizer_model.empty()) {
    fs::copy_file(tokenizer_model, folder / "tokenizer.model", fs::copy_options::overwrite_existing);
  }
  // Last: a folder with a config.json is whole.
  std::ofstream file(folder / "config.json", std::ios::trunc);
  file << json::serialize(config) << "\n";
  file.close();
  if (!file) {
    throw InputError((folder / "config.json").string() + ": cannot be written: " + std::strerror(errno));
  }
}

}  // namespace condensed::train
