#include "engine/model_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <sstream>
#include <string_view>

#include "engine/file_text.h"
#include "engine/input_error.h"

namespace condensed::engine {

namespace {

constexpr std::int64_t kMaxDim = 1 << 20;  // of any width, so that products of three fit 64 bits
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 40;

/// config.json with checked access: every error names the file, the key, what was expected and found.
class ConfigObject {
 public:
  ConfigObject(std::string place, const JsonObject& object) : place_(std::move(place)), object_(object) {}

  [[noreturn]] void fail(std::string_view key, const std::string& message) const {
    throw InputError(place_ + ": key \"" + std::string(key) + "\": " + message);
  }
  [[noreturn]] void fail_expected(std::string_view key, const std::string& expected) const {
    const JsonValue* found = value(key);
    fail(key, "expected " + expected + ", found " + (found != nullptr ? found->text() : "nothing"));
  }

  /// Null counts as absent, as in transformers.
  const JsonValue* value(std::string_view key) const {
    const JsonValue* found = object_.find(key);
    return found == nullptr || found->is_null() ? nullptr : found;
  }

  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) const {
    const JsonValue* found = value(key);
    const std::int64_t* number = found != nullptr ? found->if_integer() : nullptr;
    if (number == nullptr || *number < least || *number > most) {
      fail_expected(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return *number;
  }
  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most,
                       std::int64_t fallback) const {
    return value(key) == nullptr ? fallback : integer(key, least, most);
  }
  int dim(std::string_view key) const { return static_cast<int>(integer(key, 1, kMaxDim)); }
  int dim(std::string_view key, int fallback) const { return value(key) == nullptr ? fallback : dim(key); }

  double positive(std::string_view key, double fallback) const {
    const JsonValue* found = value(key);
    if (found == nullptr) {
      return fallback;
    }
    const double number = found->number().value_or(0);
    if (!(number > 0) || !std::isfinite(number)) {
      fail_expected(key, "a positive number");
    }
    return number;
  }

  bool boolean(std::string_view key, bool fallback) const {
    const JsonValue* found = value(key);
    const bool* truth = found != nullptr ? found->if_boolean() : &fallback;
    if (truth == nullptr) {
      fail_expected(key, "true or false");
    }
    return *truth;
  }

  std::string string(std::string_view key, std::string_view fallback) const {
    const JsonValue* found = value(key);
    if (found == nullptr) {
      return std::string(fallback);
    }
    if (found->if_string() == nullptr) {
      fail_expected(key, "a string");
    }
    return *found->if_string();
  }

  std::optional<ConfigObject> object(std::string_view key) const {
    const JsonValue* found = value(key);
    if (found == nullptr) {
      return std::nullopt;
    }
    if (found->if_object() == nullptr) {
      fail_expected(key, "an object or null");
    }
    return ConfigObject(place_ + ": " + std::string(key), *found->if_object());
  }

 private:
  std::string place_;
  const JsonObject& object_;
};

JsonObject parse_file(const std::filesystem::path& path) {
  const std::string text = file_text(path, "; a model folder in the Hugging Face layout has a config.json");
  return parse_json_object(text, path.string() + ": expected a JSON object");
}

std::vector<LayerType> parse_layer_types(const ConfigObject& config, int n_layers) {
  std::vector<LayerType> types;
  if (config.value("layer_types") == nullptr) {
    for (int layer = 0; layer < n_layers; ++layer) {
      types.push_back({.owner = layer});
    }
    return types;
  }
  const std::string text = config.string("layer_types", "");
  std::stringstream entries(text);
  for (std::string entry; std::getline(entries, entry, '_');) {
    LayerType type{.sliding = entry.ends_with('s')};
    const char* end = entry.data() + entry.size() - (type.sliding ? 1 : 0);
    const auto [parsed_to, error] = std::from_chars(entry.data(), end, type.owner);
    if (error != std::errc() || parsed_to != end || type.owner < 0 || type.owner >= n_layers) {
      config.fail("layer_types", "entry " + std::to_string(types.size()) + " is \"" + entry +
                                     "\": expected a layer from 0 to " + std::to_string(n_layers - 1) +
                                     ", with an s after it if the layer slides");
    }
    types.push_back(type);
  }
  if (static_cast<int>(types.size()) != n_layers || text.ends_with('_')) {
    config.fail("layer_types", "\"" + text + "\" has " + std::to_string(types.size()) +
                                   " entries, expected " + std::to_string(n_layers) +
                                   " (num_hidden_layers), joined by _");
  }
  return types;
}

RopeScaling parse_rope_scaling(const ConfigObject& config, std::string_view key) {
  const std::optional<ConfigObject> object = config.object(key);
  RopeScaling scaling;
  if (!object) {
    return scaling;
  }
  const std::string type = object->string("rope_type", object->string("type", "default"));
  if (type == "default") {
    return scaling;
  }
  if (type != "linear" && type != "llama3") {
    object->fail("rope_type", "\"" + type + "\" is not supported; expected default, linear or llama3");
  }
  if (object->value("factor") == nullptr) {
    object->fail_expected("factor", "a positive number");
  }
  scaling.type = type == "linear" ? RopeScaling::Type::linear : RopeScaling::Type::llama3;
  scaling.factor = object->positive("factor", 1);
  if (scaling.factor < 1) {
    object->fail_expected("factor", "a number of at least 1");
  }
  if (scaling.type == RopeScaling::Type::llama3) {
    scaling.low_freq_factor = object->positive("low_freq_factor", 1);
    scaling.high_freq_factor = object->positive("high_freq_factor", 4);
    scaling.original_max_position_embeddings = object->positive("original_max_position_embeddings", 8192);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      object->fail_expected("high_freq_factor", "more than low_freq_factor");
    }
  }
  return scaling;
}

void parse_rope(const ConfigObject& config, ModelConfig& out) {
  out.rope_theta = config.positive("rope_theta", 10000);
  out.rope_scaling = parse_rope_scaling(config, "rope_scaling");
  // Newer transformers write both into one object.
  if (const std::optional<ConfigObject> parameters = config.object("rope_parameters")) {
    out.rope_theta = parameters->positive("rope_theta", out.rope_theta);
    out.rope_scaling = parse_rope_scaling(config, "rope_parameters");
  }
  if (out.rope_theta <= 1) {
    config.fail_expected("rope_theta", "a number above 1");
  }
}

void parse_special_tokens(const ConfigObject& config, ModelConfig& out) {
  const std::int64_t last_token = out.vocab_size - 1;
  if (config.value("bos_token_id") != nullptr) {
    out.bos_token_id = static_cast<std::int32_t>(config.integer("bos_token_id", 0, last_token));
  }
  const JsonValue* eos = config.value("eos_token_id");
  if (eos == nullptr) {
    return;
  }
  if (eos->if_array() == nullptr) {
    out.eos_token_ids.push_back(static_cast<std::int32_t>(config.integer("eos_token_id", 0, last_token)));
    return;
  }
  for (const JsonValue& token : *eos->if_array()) {
    const std::int64_t* id = token.if_integer();
    if (id == nullptr || *id < 0 || *id > last_token) {
      config.fail_expected("eos_token_id", "token ids from 0 to " + std::to_string(last_token));
    }
    out.eos_token_ids.push_back(static_cast<std::int32_t>(*id));
  }
}

void refuse_unsupported(const ConfigObject& config) {
  const std::string type = config.string("model_type", "");
  if (type != "llama" && type != "lckv-llama") {
    config.fail_expected("model_type", "\"llama\" or \"lckv-llama\"");
  }
  if (config.string("hidden_act", "silu") != "silu") {
    config.fail_expected("hidden_act", "\"silu\"");
  }
  for (const char* bias : {"attention_bias", "mlp_bias"}) {
    if (config.boolean(bias, false)) {
      config.fail(bias, "weights with biases are not supported; expected false");
    }
  }
}

/// What condensed-quantize wrote. Other tools' formats are refused.
std::optional<WeightFormat> read_quantisation(const ConfigObject& config) {
  const JsonValue* value = config.value("quantization_config");
  if (value == nullptr) {
    return std::nullopt;
  }
  const JsonObject* found = value->if_object();
  const auto text = [&](std::string_view key) {
    const JsonValue* item = found != nullptr ? found->find(key) : nullptr;
    const std::string* name = item != nullptr ? item->if_string() : nullptr;
    return name != nullptr ? std::string_view(*name) : std::string_view();
  };
  if (text("quant_method") != "condensed") {
    config.fail("quantization_config",
                "only what condensed-quantize writes is supported; use the original weights");
  }
  const std::optional<kernels::DType> layers = kernels::dtype_named(text("layers"));
  const std::optional<kernels::DType> embedding = kernels::dtype_named(text("embedding"));
  const auto quantised = [](const std::optional<kernels::DType>& dtype) {
    return dtype && kernels::is_quantised(*dtype);
  };
  if (!quantised(layers) || !quantised(embedding)) {
    config.fail("quantization_config", "layers and embedding must each be \"q8\" or \"q4\"");
  }
  return WeightFormat{*layers, *embedding};
}

}  // namespace

ModelConfig read_model_config(const std::filesystem::path& config_json) {
  return parse_model_config(parse_file(config_json), config_json.string());
}

ModelConfig parse_model_config(const JsonObject& object, const std::string& place) {
  const ConfigObject config(place, object);
  refuse_unsupported(config);

  ModelConfig out;
  out.model_type = config.string("model_type", "");
  out.vocab_size = config.dim("vocab_size");
  out.hidden_size = config.dim("hidden_size");
  out.intermediate_size = config.dim("intermediate_size");
  out.n_layers = static_cast<int>(config.integer("num_hidden_layers", 1, kMaxLayers));
  out.n_heads = config.dim("num_attention_heads");
  out.n_kv_heads = config.dim("num_key_value_heads", out.n_heads);
  if (out.n_kv_heads > out.n_heads || out.n_heads % out.n_kv_heads != 0) {
    config.fail_expected("num_key_value_heads",
                         "a divisor of num_attention_heads " + std::to_string(out.n_heads));
  }
  if (config.value("head_dim") == nullptr && out.hidden_size % out.n_heads != 0) {
    config.fail_expected(
        "num_attention_heads",
        "a divisor of hidden_size " + std::to_string(out.hidden_size) + ", since there is no head_dim");
  }
  out.head_dim = config.dim("head_dim", out.hidden_size / out.n_heads);
  if (out.head_dim % 2 != 0 || out.head_dim > 4096) {
    config.fail("head_dim", "is " + std::to_string(out.head_dim) + ", expected an even number up to 4096");
  }
  if (std::int64_t{out.n_heads} * out.head_dim > kMaxDim) {
    config.fail("num_attention_heads", "times head_dim exceeds " + std::to_string(kMaxDim));
  }
  out.max_position_embeddings = config.integer("max_position_embeddings", 1, kMaxPositions, 2048);
  out.rms_norm_eps = config.positive("rms_norm_eps", 1e-6);
  out.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  parse_rope(config, out);
  parse_special_tokens(config, out);

  // The keys of the layer-condensed cache; a plain llama has none of them.
  out.layer_types = parse_layer_types(config, out.n_layers);
  out.force_nodiag = config.boolean("force_nodiag", false);
  out.sliding_window = config.integer("sliding_window", 1, kMaxPositions, 4096);
  out.forward_passes = static_cast<int>(config.integer("forward_passes", 0, 10'000, 7));
  out.backward_passes = static_cast<int>(config.integer("backward_passes", 0, 10'000, 2));
  out.use_sequential = config.boolean("use_sequential", false);
  out.quantised = read_quantisation(config);
  return out;
}

std::vector<double> rotary_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  std::vector<double> frequencies;
  for (int i = 0; i < config.head_dim / 2; ++i) {
    double frequency = std::pow(config.rope_theta, -2.0 * i / config.head_dim);
    if (scaling.type == RopeScaling::Type::linear) {
      frequency /= scaling.factor;
    } else if (scaling.type == RopeScaling::Type::llama3) {
      // Llama 3.1: long wavelengths are slowed by `factor`, short ones kept, those between blended.
      const double wavelengths =
          scaling.original_max_position_embeddings * frequency / (2 * std::numbers::pi);
      const double kept =
          (wavelengths - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      const double share = std::min(1.0, std::max(0.0, kept));
      frequency *= share + (1 - share) / scaling.factor;
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace condensed::engine
