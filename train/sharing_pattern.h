#pragma once

#include <vector>

#include "engine/model_config.h"

namespace condensed::train {

/// Consecutive layers [first, end). In a cyclic range some layer attends to keys and values of a layer above
/// it, so that a whole sequence takes several passes (arXiv 2405.10637, section 2.3).
struct LayerRange {
  int first = 0;
  int end = 0;
  bool cyclic = false;

  bool operator==(const LayerRange&) const = default;
};

/// Covers all layers bottom to top: maximal cyclic ranges, and what lies between them.
/// Worked out anew here, not taken from engine/layer_plan.h: training checks the engine's reading of
/// layer_types.
std::vector<LayerRange> layer_ranges(const std::vector<engine::LayerType>& types);

/// Whether some layer attends to `layer`, which then has key and value projections.
bool owns_keys_values(const std::vector<engine::LayerType>& types, int layer);

}  // namespace condensed::train
