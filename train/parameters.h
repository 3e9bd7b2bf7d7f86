#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "engine/model_config.h"
#include "engine/weight_source.h"

namespace condensed::train {

/// One decoder layer, float32. q_dim = n_heads · head_dim, kv_dim = n_kv_heads · head_dim.
struct LayerParameters {
  torch::Tensor attention_norm;  // [hidden]
  torch::Tensor q_proj;          // [q_dim, hidden]
  torch::Tensor k_proj;          // [kv_dim, hidden], undefined unless some layer attends to this one
  torch::Tensor v_proj;          // [kv_dim, hidden], likewise
  torch::Tensor o_proj;          // [hidden, q_dim]
  torch::Tensor mlp_norm;        // [hidden]
  torch::Tensor gate_proj;       // [intermediate, hidden]
  torch::Tensor up_proj;         // [intermediate, hidden]
  torch::Tensor down_proj;       // [hidden, intermediate]
};

struct Parameters {
  torch::Tensor embedding;  // [vocab, hidden]
  std::vector<LayerParameters> layers;
  torch::Tensor final_norm;  // [hidden]
  torch::Tensor output;      // [vocab, hidden], undefined when tied: then `embedding`

  const torch::Tensor& output_matrix() const { return output.defined() ? output : embedding; }
};

/// A tensor under its Hugging Face name.
struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  torch::Tensor* tensor = nullptr;  // into the Parameters it was listed from
};

/// Every tensor of such a model, in the order of a forward pass. `parameters` gets its layers.
std::vector<NamedTensor> named_tensors(const engine::ModelConfig& config, Parameters& parameters);

/// Normal distributions of this standard deviation, scaled by 1 / sqrt(2 · n_layers) where a product joins
/// the residual stream (GPT-2's initialisation); norms are 1. The same seed gives the same numbers.
Parameters random_parameters(const engine::ModelConfig& config, double standard_deviation,
                             std::uint64_t seed);

/// From a checkpoint, whatever number format it has, but not quantised. Throws InputError.
Parameters load_parameters(engine::WeightSource& source);

/// A condensed model from a plain one of the same shape: all weights are copied, and each owner's key and
/// value projections are the mean of those of the layers that attend to it (arXiv 2406.09297). `to`: the
/// plain model's configuration but for layer_types.
Parameters condense(const engine::ModelConfig& from, const Parameters& plain, const engine::ModelConfig& to);

std::int64_t count(const engine::ModelConfig& config);

}  // namespace condensed::train
