#pragma once

#include <string>

#include "engine/model.h"

namespace condensed::engine {

/// 32 hexadecimal digits that differ between models whose sessions must not be mixed up: from the
/// configuration, every tensor's shape, number format and a sample of its numbers as they are computed with,
/// and the tokenizer. Reads some kilobytes of each tensor, whatever its size.
std::string fingerprint_of(const Model& model);

}  // namespace condensed::engine
