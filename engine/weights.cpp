#include "engine/weights.h"

#include <array>
#include <cstring>
#include <string>

#include "kernels/float_formats.h"

namespace condensed::engine {

namespace {

/// Takes tensors out of a checkpoint, each checked against the shape it must have.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, kernels::Backend& backend)
      : checkpoint_(checkpoint), backend_(backend) {}

  std::unique_ptr<kernels::Matrix> matrix(const std::string& name, std::int64_t rows,
                                          std::int64_t cols) const {
    const TensorView& tensor = checkpoint_.tensor(name, std::array{rows, cols});
    return backend_.load_matrix(
        {.dtype = tensor.dtype, .data = tensor.data.data(), .rows = rows, .cols = cols});
  }

  /// Norm weights are few: they become float32.
  kernels::Memory vector(const std::string& name, std::int64_t size) const {
    const TensorView& tensor = checkpoint_.tensor(name, std::array{size});
    std::vector<float> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (tensor.dtype == kernels::DType::f32) {
        std::memcpy(&values[i], tensor.data.data() + i * sizeof(float), sizeof(float));
      } else {
        std::uint16_t bits = 0;
        std::memcpy(&bits, tensor.data.data() + i * sizeof(bits), sizeof(bits));
        values[i] =
            tensor.dtype == kernels::DType::bf16 ? kernels::bf16_to_f32(bits) : kernels::f16_to_f32(bits);
      }
    }
    kernels::Memory memory = backend_.allocate(values.size() * sizeof(float));
    backend_.upload(values, {reinterpret_cast<float*>(memory.get()), values.size()});
    return memory;
  }

 private:
  const Checkpoint& checkpoint_;
  kernels::Backend& backend_;
};

LayerWeights load_layer(const Loader& load, const ModelConfig& config, const LayerStep& step) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  const std::int64_t kv_dim = std::int64_t{config.n_kv_heads} * config.head_dim;
  const std::string layer = "model.layers." + std::to_string(step.layer) + ".";

  LayerWeights weights;
  weights.attention_norm = load.vector(layer + "input_layernorm.weight", hidden);
  weights.q_proj = load.matrix(layer + "self_attn.q_proj.weight", q_dim, hidden);
  if (step.owns) {
    weights.k_proj = load.matrix(layer + "self_attn.k_proj.weight", kv_dim, hidden);
    weights.v_proj = load.matrix(layer + "self_attn.v_proj.weight", kv_dim, hidden);
  }
  weights.o_proj = load.matrix(layer + "self_attn.o_proj.weight", hidden, q_dim);
  weights.mlp_norm = load.vector(layer + "post_attention_layernorm.weight", hidden);
  weights.gate_proj = load.matrix(layer + "mlp.gate_proj.weight", intermediate, hidden);
  weights.up_proj = load.matrix(layer + "mlp.up_proj.weight", intermediate, hidden);
  weights.down_proj = load.matrix(layer + "mlp.down_proj.weight", hidden, intermediate);
  return weights;
}

}  // namespace

Weights load_weights(const Checkpoint& checkpoint, const LayerPlan& plan, kernels::Backend& backend) {
  const ModelConfig& config = checkpoint.config();
  const Loader load(checkpoint, backend);
  Weights weights;
  weights.embedding = load.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  for (const LayerStep& step : plan.layers) {
    weights.layers.push_back(load_layer(load, config, step));
  }
  weights.final_norm = load.vector("model.norm.weight", config.hidden_size);
  if (!config.tie_word_embeddings) {
    weights.output = load.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  }
  return weights;
}

std::size_t Weights::bytes() const {
  std::size_t total = embedding->bytes() + (output ? output->bytes() : 0);
  for (const LayerWeights& layer : layers) {
    for (const auto* matrix : {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj, &layer.gate_proj,
                               &layer.up_proj, &layer.down_proj}) {
      total += *matrix ? (*matrix)->bytes() : 0;
    }
  }
  const auto hidden = static_cast<std::size_t>(embedding->cols());
  return total + (2 * layers.size() + 1) * hidden * sizeof(float);  // norms
}

}  // namespace condensed::engine
