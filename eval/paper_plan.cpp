#include "eval/paper_plan.h"

#include <charconv>
#include <limits>
#include <string_view>

#include "engine/input_error.h"
#include "engine/layer_plan.h"

namespace condensed::eval {

namespace {

/// A whole number, or 0: nothing here may be 0.
std::int64_t positive_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

std::int64_t parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t bytes;
  };
  constexpr Unit kUnits[] = {{"KiB", 1LL << 10}, {"MiB", 1LL << 20}, {"GiB", 1LL << 30}};
  std::int64_t unit_bytes = 1;
  for (const Unit& unit : kUnits) {
    if (text.ends_with(unit.name)) {
      unit_bytes = unit.bytes;
      text.remove_suffix(unit.name.size());
      break;
    }
  }
  const std::int64_t number = positive_number(text);
  return number <= std::numeric_limits<std::int64_t>::max() / unit_bytes ? number * unit_bytes : 0;
}

}  // namespace

PaperShape parse_paper_shape(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  PaperShape shape{.shape = text.substr(0, equals)};
  if (equals != std::string::npos) {
    shape.memory_bytes = parse_size(std::string_view(text).substr(equals + 1));
  }
  if (shape.shape.empty() || shape.memory_bytes <= 0) {
    throw engine::InputError("shape \"" + text +
                             "\": expected SHAPE=MEMORY, as in tinyllama=1GiB or llama-7b=8GiB");
  }
  return shape;
}

Lengths parse_lengths(const std::string& text) {
  const std::size_t plus = text.find('+');
  Lengths lengths;
  if (plus != std::string::npos) {
    lengths.prompt = positive_number(std::string_view(text).substr(0, plus));
    lengths.generated = positive_number(std::string_view(text).substr(plus + 1));
  }
  if (lengths.prompt <= 0 || lengths.generated <= 0 || lengths.prompt > 1 << 24 ||
      lengths.generated > 1 << 24) {
    throw engine::InputError("lengths \"" + text +
                             "\": expected tokens of the prompt and of the answer, as in 5+2043");
  }
  return lengths;
}

std::size_t weight_bytes(const engine::ModelConfig& config, const engine::WeightFormat& format) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.n_kv_heads} * config.head_dim;
  const auto of_layers = [&](std::int64_t rows, std::int64_t cols) {
    return rows * kernels::row_bytes(format.layers, cols);
  };
  const std::int64_t embedding =
      std::int64_t{config.vocab_size} * kernels::row_bytes(format.embedding, hidden);
  const std::int64_t layer = of_layers(q_dim, hidden) + of_layers(hidden, q_dim) +
                             2 * of_layers(intermediate, hidden) + of_layers(hidden, intermediate);
  const std::int64_t keys_and_values = 2 * of_layers(kv_dim, hidden);
  const std::int64_t norms = (2 * config.n_layers + 1) * hidden * static_cast<std::int64_t>(sizeof(float));
  return static_cast<std::size_t>(norms + (config.tie_word_embeddings ? 1 : 2) * embedding +
                                  config.n_layers * layer +
                                  engine::make_layer_plan(config).n_owners() * keys_and_values);
}

cache::CacheShape cache_shape(const engine::ModelConfig& config, kernels::DType cache_dtype) {
  return {.n_owners = engine::make_layer_plan(config).n_owners(),
          .n_kv_heads = config.n_kv_heads,
          .head_dim = config.head_dim,
          .dtype = cache_dtype};
}

std::int64_t largest_batch(std::int64_t memory_bytes, std::size_t weight_bytes, std::size_t session_bytes) {
  const std::int64_t left = memory_bytes - static_cast<std::int64_t>(weight_bytes);
  return left < 0 ? 0 : left / static_cast<std::int64_t>(session_bytes);
}

}  // namespace condensed::eval
