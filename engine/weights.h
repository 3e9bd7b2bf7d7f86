#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/layer_plan.h"
#include "kernels/backend.h"

namespace condensed::engine {

/// Weights of one decoder layer. kv_dim = n_kv_heads · head_dim, q_dim = n_heads · head_dim.
struct LayerWeights {
  kernels::Memory attention_norm;              // [hidden]
  std::unique_ptr<kernels::Matrix> q_proj;     // [q_dim, hidden]
  std::unique_ptr<kernels::Matrix> k_proj;     // [kv_dim, hidden], null unless the layer owns a cache
  std::unique_ptr<kernels::Matrix> v_proj;     // [kv_dim, hidden], likewise
  std::unique_ptr<kernels::Matrix> o_proj;     // [hidden, q_dim]
  kernels::Memory mlp_norm;                    // [hidden]
  std::unique_ptr<kernels::Matrix> gate_proj;  // [intermediate, hidden]
  std::unique_ptr<kernels::Matrix> up_proj;    // [intermediate, hidden]
  std::unique_ptr<kernels::Matrix> down_proj;  // [hidden, intermediate]
};

struct Weights {
  std::unique_ptr<kernels::Matrix> embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;            // [n_layers]
  kernels::Memory final_norm;                  // [hidden]
  std::unique_ptr<kernels::Matrix> output;     // [vocab, hidden], null when tied: then `embedding`

  const kernels::Matrix& output_matrix() const { return output ? *output : *embedding; }
  std::size_t bytes() const;
};

/// Takes every tensor the plan needs, checked against its shape. Throws InputError.
Weights load_weights(const Checkpoint& checkpoint, const LayerPlan& plan, kernels::Backend& backend);

}  // namespace condensed::engine
