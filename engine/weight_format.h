#pragma once

#include <optional>
#include <string_view>

#include "kernels/dtype.h"

namespace condensed::engine {

/// How the matrices of a model are stored. The embedding and the output layer keep more bits than a q4
/// model's layers: they are a small part of the whole and feel the loss most.
struct WeightFormat {
  kernels::DType layers = kernels::DType::bf16;
  kernels::DType embedding = kernels::DType::bf16;

  bool operator==(const WeightFormat&) const = default;
};

/// "stored" (nothing: as the checkpoint has them), "bf16", "f16", "q8" or "q4". Throws InputError for
/// anything else.
std::optional<WeightFormat> parse_weight_format(std::string_view text);

}  // namespace condensed::engine
