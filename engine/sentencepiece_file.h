#pragma once

#include <string>
#include <string_view>

namespace condensed::engine {

/// How a sentencepiece model treats spaces (NormalizerSpec of sentencepiece_model.proto); the library itself
/// does not tell.
struct SpaceRules {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

/// Checks what sentencepiece follows blindly: the tries of a model's character maps, which in a damaged file
/// may point anywhere. Throws InputError, beginning with `file`, also when `serialised` is no protocol-buffer
/// message.
SpaceRules check_sentencepiece_model(const std::string& file, std::string_view serialised);

}  // namespace condensed::engine
