#include "train/parameters.h"

#include <cmath>
#include <utility>

#include "engine/input_error.h"
#include "kernels/dtype.h"
#include "train/sharing_pattern.h"

namespace condensed::train {

std::vector<NamedTensor> named_tensors(const engine::ModelConfig& config, Parameters& parameters) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.n_kv_heads} * config.head_dim;
  const std::int64_t intermediate = config.intermediate_size;
  parameters.layers.resize(static_cast<std::size_t>(config.n_layers));

  std::vector<NamedTensor> all;
  all.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}, &parameters.embedding});
  for (int i = 0; i < config.n_layers; ++i) {
    LayerParameters& layer = parameters.layers[i];
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    all.push_back({prefix + "input_layernorm.weight", {hidden}, &layer.attention_norm});
    all.push_back({prefix + "self_attn.q_proj.weight", {q_dim, hidden}, &layer.q_proj});
    if (owns_keys_values(config.layer_types, i)) {
      all.push_back({prefix + "self_attn.k_proj.weight", {kv_dim, hidden}, &layer.k_proj});
      all.push_back({prefix + "self_attn.v_proj.weight", {kv_dim, hidden}, &layer.v_proj});
    }
    all.push_back({prefix + "self_attn.o_proj.weight", {hidden, q_dim}, &layer.o_proj});
    all.push_back({prefix + "post_attention_layernorm.weight", {hidden}, &layer.mlp_norm});
    all.push_back({prefix + "mlp.gate_proj.weight", {intermediate, hidden}, &layer.gate_proj});
    all.push_back({prefix + "mlp.up_proj.weight", {intermediate, hidden}, &layer.up_proj});
    all.push_back({prefix + "mlp.down_proj.weight", {hidden, intermediate}, &layer.down_proj});
  }
  all.push_back({"model.norm.weight", {hidden}, &parameters.final_norm});
  if (!config.tie_word_embeddings) {
    all.push_back({"lm_head.weight", {config.vocab_size, hidden}, &parameters.output});
  }
  return all;
}

Parameters random_parameters(const engine::ModelConfig& config, double standard_deviation,
                             std::uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  Parameters out;
  for (const NamedTensor& named : named_tensors(config, out)) {
    if (named.shape.size() == 1) {
      *named.tensor = torch::ones(named.shape);
      continue;
    }
    const bool joins_residual =
        named.name.ends_with("o_proj.weight") || named.name.ends_with("down_proj.weight");
    const double scale = joins_residual ? 1 / std::sqrt(2.0 * config.n_layers) : 1;
    *named.tensor = torch::empty(named.shape).normal_(0, standard_deviation * scale, generator);
  }
  return out;
}

namespace {

/// A copy, float32.
torch::Tensor tensor_of(const kernels::MatrixView& view, const std::string& name) {
  torch::ScalarType type = torch::kFloat32;
  switch (view.dtype) {
    case kernels::DType::f32:
      break;
    case kernels::DType::bf16:
      type = torch::kBFloat16;
      break;
    case kernels::DType::f16:
      type = torch::kFloat16;
      break;
    case kernels::DType::q8:
    case kernels::DType::q4:
      throw engine::InputError(
          "tensor " + name +
          ": is quantised, and training needs numbers; start from the original checkpoint");
  }
  // from_blob takes no const pointer; the tensor is only read, by the copy right here.
  void* const data = const_cast<std::byte*>(view.data);
  return torch::from_blob(data, {view.rows, view.cols}, type).to(torch::kFloat32, false, /*copy=*/true);
}

}  // namespace

Parameters load_parameters(engine::WeightSource& source) {
  Parameters out;
  for (const NamedTensor& named : named_tensors(source.config(), out)) {
    if (named.shape.size() == 1) {
      *named.tensor = torch::tensor(source.vector(named.name, named.shape[0]));
    } else {
      *named.tensor = tensor_of(source.matrix(named.name, named.shape[0], named.shape[1]), named.name);
    }
  }
  return out;
}

Parameters condense(const engine::ModelConfig& from, const Parameters& plain, const engine::ModelConfig& to) {
  Parameters source = plain;  // named_tensors() lists what may be written, too; the tensors are shared
  Parameters out;
  const auto sources = named_tensors(from, source);
  for (const NamedTensor& named : named_tensors(to, out)) {
    const auto same = std::ranges::find(sources, named.name, &NamedTensor::name);
    if (same == sources.end() || same->shape != named.shape) {
      throw engine::InputError("tensor " + named.name +
                               ": the plain model has none of that shape; only layer_types may differ");
    }
    *named.tensor = same->tensor->clone();
  }
  for (int owner = 0; owner < to.n_layers; ++owner) {
    std::vector<torch::Tensor> keys;
    std::vector<torch::Tensor> values;
    for (int layer = 0; layer < to.n_layers; ++layer) {
      if (to.layer_types[layer].owner == owner) {
        keys.push_back(plain.layers[layer].k_proj);
        values.push_back(plain.layers[layer].v_proj);
      }
    }
    if (!keys.empty()) {
      out.layers[owner].k_proj = torch::stack(keys).mean(0);
      out.layers[owner].v_proj = torch::stack(values).mean(0);
    }
  }
  return out;
}

std::int64_t count(const engine::ModelConfig& config) {
  Parameters none;
  std::int64_t n = 0;
  for (const NamedTensor& named : named_tensors(config, none)) {
    n += named.shape.size() == 1 ? named.shape[0] : named.shape[0] * named.shape[1];
  }
  return n;
}

}  // namespace condensed::train
