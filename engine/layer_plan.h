#pragma once

#include <string>
#include <vector>

#include "cache/condensed_cache.h"
#include "engine/model_config.h"

namespace condensed::engine {

/// What one layer does, derived from layer_types.
struct LayerStep {
  int layer = 0;
  int owner = 0;      // index among the owners of the cache it reads: 0 … n_owners - 1
  bool owns = false;  // computes keys and values, which go to `owner_written`
  int owner_written = -1;
  cache::Visibility visibility;
};

/// Layers that run together: either once, or (cyclic) again and again until the keys and values that their
/// lower layers read from their upper ones stand still.
struct LayerStage {
  int first = 0;
  int end = 0;  // one past the last layer
  bool cyclic = false;
};

/// The sharing pattern of a model, derived once.
struct LayerPlan {
  std::vector<LayerStep> layers;   // [n_layers], bottom to top
  std::vector<LayerStage> stages;  // cover all layers, bottom to top
  std::vector<int> owner_layers;   // [n_owners], ascending

  int n_owners() const { return static_cast<int>(owner_layers.size()); }
  bool cyclic() const;
};

LayerPlan make_layer_plan(const ModelConfig& config);

/// layer_types of the paper's sandwich (arXiv 2405.10637, section 2.2): "w=N" has N warmup layers, half of
/// them below, half above. Throws InputError when `text` is not like that, or N is odd or too large.
std::string sandwich_layer_types(int n_layers, const std::string& text);

}  // namespace condensed::engine
