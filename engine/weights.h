#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/host_pages.h"
#include "engine/layer_plan.h"
#include "engine/weight_source.h"
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
  std::vector<HostPages> converted;            // what matrices that are not as in the source lie in
  std::unique_ptr<kernels::Matrix> embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;            // [n_layers]
  kernels::Memory final_norm;                  // [hidden]
  std::unique_ptr<kernels::Matrix> output;     // [vocab, hidden], null when tied: then `embedding`

  const kernels::Matrix& output_matrix() const { return output ? *output : *embedding; }
  std::size_t bytes() const;
};

/// Told what tells two checkpoints apart: name, format, shape and some rows of every tensor, in a fixed
/// order.
using OnWeightSample = std::function<void(std::span<const std::byte>)>;

/// Takes every matrix and vector the plan needs, converted to `format` if one is given. `source` must outlive
/// the weights. Throws InputError, also when quantised weights would have to be converted.
Weights load_weights(WeightSource& source, const LayerPlan& plan, kernels::Backend& backend,
                     const std::optional<WeightFormat>& format, const OnWeightSample& on_sample = nullptr);

/// Rows of `from` stored anew in another format, on all processors. out: [from.rows · row_bytes(to,
/// from.cols)]. Throws InputError, naming the first number that is not finite, for a quantised format.
void convert_rows(const kernels::MatrixView& from, kernels::DType to, std::span<std::byte> out);

}  // namespace condensed::engine
