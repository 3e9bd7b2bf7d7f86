#include "engine/checkpoint.h"

#include <algorithm>
#include <array>
#include <set>

#include "engine/file_text.h"
#include "engine/input_error.h"
#include "engine/json_value.h"
#include "kernels/stored_row.h"

namespace condensed::engine {

namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// model.safetensors.index.json: tensor → the shard it is in.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const std::string expected = path.string() + ": expected a JSON object with a weight_map object";
  const JsonObject index = parse_json_object(file_text(path), expected);
  const JsonValue* weight_map = index.find("weight_map");
  if (weight_map == nullptr || weight_map->if_object() == nullptr) {
    throw InputError(expected);
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : weight_map->if_object()->members()) {
    const std::string name = shard.if_string() != nullptr ? *shard.if_string() : "";
    if (name.empty() || name.find('/') != std::string::npos || name == "..") {
      throw InputError(path.string() + ": weight_map: tensor " + std::string(tensor) +
                       ": expected the name of a file in the same folder, found " + shard.text());
    }
    shards.emplace(tensor, name);
  }
  return shards;
}

/// Of the number types; bytes are what config.json says.
kernels::DType dtype_of(ElementType type) {
  switch (type) {
    case ElementType::bf16:
      return kernels::DType::bf16;
    case ElementType::f16:
      return kernels::DType::f16;
    default:
      return kernels::DType::f32;
  }
}

void check_shape(const TensorView& tensor, std::span<const std::int64_t> shape) {
  if (!std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end())) {
    throw InputError(tensor.file.string() + ": tensor " + tensor.name + ": has shape " +
                     shape_text(tensor.shape) + ", expected " + shape_text(shape) + " as config.json says");
  }
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& folder) : folder_(folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw InputError(folder.string() +
                     ": is not a folder; expected a model folder in the Hugging Face layout");
  }
  config_ = read_model_config(folder / "config.json");
  if (std::filesystem::exists(folder / kSingleFile)) {
    files_.emplace_back(folder / kSingleFile);
  } else if (std::filesystem::exists(folder / kIndexFile)) {
    open_shards(folder / kIndexFile);
  } else {
    const bool has_pickle = std::filesystem::exists(folder / "pytorch_model.bin") ||
                            std::filesystem::exists(folder / "pytorch_model.bin.index.json");
    throw InputError(folder.string() + ": has neither " + kSingleFile + " nor " + kIndexFile +
                     (has_pickle
                          ? "; pytorch_model.bin is not read: load it with transformers and save it again "
                            "with safe_serialization=True"
                          : ""));
  }
  for (const SafetensorsFile& file : files_) {
    for (const auto& [name, tensor] : file.tensors()) {
      if (!tensors_.emplace(name, &tensor).second) {
        throw InputError(file.path().string() + ": tensor " + name + ": is in another shard, too");
      }
    }
  }
}

void Checkpoint::open_shards(const std::filesystem::path& index_file) {
  const std::map<std::string, std::string> index = read_index(index_file);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index) {
    shards.insert(shard);
  }
  files_.reserve(shards.size());
  for (const std::string& shard : shards) {
    const SafetensorsFile& file = files_.emplace_back(folder_ / shard);
    for (const auto& [tensor, in] : index) {
      if (in == shard && !file.tensors().contains(tensor) && !file.other_dtypes().contains(tensor)) {
        throw InputError(file.path().string() + ": tensor " + tensor + ": is missing, though " +
                         index_file.filename().string() + " says it is here");
      }
    }
  }
}

/// Throws InputError if it is missing, or of a type that no weights have. shape: for the message.
const TensorView& Checkpoint::tensor(const std::string& name, std::span<const std::int64_t> shape) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) {
    return *found->second;
  }
  for (const SafetensorsFile& file : files_) {
    if (const auto other = file.other_dtypes().find(name); other != file.other_dtypes().end()) {
      throw InputError(file.path().string() + ": tensor " + name + ": has dtype " + other->second +
                       ", expected F32, F16 or BF16");
    }
  }
  throw InputError((files_.size() == 1 ? files_.front().path() : folder_).string() + ": tensor " + name +
                   ": is missing, expected " + shape_text(shape) + " as config.json says");
}

kernels::MatrixView Checkpoint::matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
  const TensorView& found = tensor(name, std::array{rows, cols});
  kernels::DType dtype = dtype_of(found.type);
  std::int64_t width = cols;
  if (found.type == ElementType::u8) {
    if (!config_.quantised) {
      throw InputError(found.file.string() + ": tensor " + name +
                       ": has dtype U8, expected F32, F16 or BF16: config.json has no quantization_config");
    }
    dtype = is_of_layer(name) ? config_.quantised->layers : config_.quantised->embedding;
    width = kernels::row_bytes(dtype, cols);
  }
  check_shape(found, std::array{rows, width});
  return {.dtype = dtype, .data = found.data.data(), .rows = rows, .cols = cols};
}

std::vector<float> Checkpoint::vector(const std::string& name, std::int64_t size) {
  const TensorView& found = tensor(name, std::array{size});
  if (found.type == ElementType::u8) {
    throw InputError(found.file.string() + ": tensor " + name + ": has dtype U8, expected F32, F16 or BF16");
  }
  check_shape(found, std::array{size});
  std::vector<float> out(static_cast<std::size_t>(size));
  kernels::load_row(dtype_of(found.type), found.data.data(), out);
  return out;
}

}  // namespace condensed::engine
