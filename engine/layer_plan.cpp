#include "engine/layer_plan.h"

#include <algorithm>
#include <charconv>

#include "engine/input_error.h"

namespace condensed::engine {

namespace {

/// Cyclic ranges start from [i, a(i)] for each layer that reads from above, and grow together where they
/// share a layer.
std::vector<LayerStage> find_stages(const std::vector<LayerType>& types) {
  std::vector<LayerStage> stages;
  const int n_layers = static_cast<int>(types.size());
  for (int layer = 0; layer < n_layers;) {
    LayerStage stage{.first = layer, .end = layer + 1, .cyclic = types[layer].owner > layer};
    if (stage.cyclic) {
      stage.end = types[layer].owner + 1;
      for (int inner = layer + 1; inner < stage.end; ++inner) {
        stage.end = std::max(stage.end, types[inner].owner + 1);
      }
    } else {
      while (stage.end < n_layers && types[stage.end].owner <= stage.end) {
        ++stage.end;
      }
    }
    stages.push_back(stage);
    layer = stage.end;
  }
  return stages;
}

}  // namespace

bool LayerPlan::cyclic() const {
  return std::any_of(stages.begin(), stages.end(), [](const LayerStage& stage) { return stage.cyclic; });
}

LayerPlan make_layer_plan(const ModelConfig& config) {
  LayerPlan plan;
  std::vector<int> owner_index(config.layer_types.size(), -1);
  for (const LayerType& type : config.layer_types) {
    owner_index[type.owner] = 0;
  }
  for (std::size_t layer = 0; layer < owner_index.size(); ++layer) {
    if (owner_index[layer] == 0) {
      owner_index[layer] = plan.n_owners();
      plan.owner_layers.push_back(static_cast<int>(layer));
    }
  }
  for (int layer = 0; layer < config.n_layers; ++layer) {
    const LayerType& type = config.layer_types[layer];
    plan.layers.push_back(
        {.layer = layer,
         .owner = owner_index[type.owner],
         .owns = owner_index[layer] >= 0,
         .owner_written = owner_index[layer],
         .visibility = {.self = type.owner <= layer && !config.force_nodiag,
                        .sliding_window = type.sliding ? config.sliding_window : std::int64_t{0}}});
  }
  plan.stages = find_stages(config.layer_types);
  return plan;
}

std::string sandwich_layer_types(int n_layers, const std::string& text) {
  int warmup = -1;
  const char* end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data() + 2, end, warmup);
  if (error != std::errc() || parsed != end || warmup < 0 || warmup % 2 != 0 || warmup > n_layers - 1) {
    throw InputError("layer types \"" + text + "\": expected w=N with an even N from 0 to " +
                     std::to_string(n_layers - 1));
  }
  std::string types;
  const int above = n_layers - warmup / 2;  // the first warmup layer above
  for (int layer = 0; layer < n_layers; ++layer) {
    const bool condensed = layer >= warmup / 2 && layer < above;
    types += (layer > 0 ? "_" : "") + std::to_string(condensed ? above - 1 : layer);
  }
  return types;
}

}  // namespace condensed::engine
