#include "train/sharing_pattern.h"

#include <algorithm>

namespace condensed::train {

std::vector<LayerRange> layer_ranges(const std::vector<engine::LayerType>& types) {
  const int n = static_cast<int>(types.size());
  std::vector<LayerRange> ranges;
  for (int layer = 0; layer < n;) {
    // Grows as long as a layer inside reaches beyond its end.
    int end = layer + 1;
    for (int inside = layer; inside < end; ++inside) {
      end = std::max(end, types[inside].owner + 1);
    }
    const bool cyclic = end > layer + 1;
    if (!cyclic && !ranges.empty() && !ranges.back().cyclic) {
      ranges.back().end = end;
    } else {
      ranges.push_back({.first = layer, .end = end, .cyclic = cyclic});
    }
    layer = end;
  }
  return ranges;
}

bool owns_keys_values(const std::vector<engine::LayerType>& types, int layer) {
  return std::ranges::any_of(types, [layer](const engine::LayerType& type) { return type.owner == layer; });
}

}  // namespace condensed::train
