#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/json_value.h"
#include "engine/weight_format.h"

namespace condensed::engine {

/// rope_scaling of config.json. Frequencies are derived by rotary_frequencies().
struct RopeScaling {
  enum class Type : std::uint8_t { none, linear, llama3 };
  Type type = Type::none;
  double factor = 1;
  double low_freq_factor = 1;                      // llama3
  double high_freq_factor = 4;                     // llama3
  double original_max_position_embeddings = 8192;  // llama3
};

/// What layer i attends to, one entry of layer_types.
struct LayerType {
  int owner = 0;         // the layer whose keys and values it uses
  bool sliding = false;  // "s": sees only the last sliding_window cache positions
};

/// config.json of a `llama` or `lckv-llama` checkpoint.
struct ModelConfig {
  std::string model_type;
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int n_layers = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 0;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids;  // config.json may give one or a list
  std::vector<LayerType> layer_types;       // [n_layers]; a plain llama's are 0_1_2_…
  bool force_nodiag = false;
  std::int64_t sliding_window = 0;        // cache positions; 0 when no layer slides
  int forward_passes = 7;                 // m
  int backward_passes = 2;                // b
  bool use_sequential = false;            // prompts run token by token
  std::optional<WeightFormat> quantised;  // quantization_config of condensed-quantize: what U8 tensors hold
};

/// Throws InputError naming the file, the key, what was expected and what was found.
ModelConfig read_model_config(const std::filesystem::path& config_json);
/// The same from what the file holds; `place` names it in errors.
ModelConfig parse_model_config(const JsonObject& object, const std::string& place);

/// Radians per position, [head_dim / 2].
std::vector<double> rotary_frequencies(const ModelConfig& config);

}  // namespace condensed::engine
