#include "engine/weight_format.h"

#include <string>

#include "engine/input_error.h"

namespace condensed::engine {

std::optional<WeightFormat> parse_weight_format(std::string_view text) {
  using kernels::DType;
  if (text == "stored") {
    return std::nullopt;
  }
  const std::optional<DType> dtype = kernels::dtype_named(text);
  if (!dtype || *dtype == DType::f32) {
    throw InputError("weights \"" + std::string(text) + "\": expected stored, bf16, f16, q8 or q4");
  }
  return WeightFormat{*dtype, *dtype == DType::q4 ? DType::q8 : *dtype};
}

}  // namespace condensed::engine
