#pragma once

#include <cstddef>
#include <span>

#include "kernels/dtype.h"

/// Rows of numbers in every storage format, plainly. A row may begin at any address: safetensors aligns
/// nothing.
namespace condensed::kernels {

/// out: all numbers of the row.
void load_row(DType dtype, const std::byte* row, std::span<float> out);

/// The nearest numbers the format can hold; q4 chooses scales for the least squared error.
/// row: [row_bytes(dtype, values.size())]. NaN and infinities survive in f32, bf16 and f16 only.
void store_row(DType dtype, std::span<const float> values, std::byte* row);

}  // namespace condensed::kernels
