#include "engine/prompt_options.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "engine/input_error.h"

namespace condensed::engine {

std::int64_t PromptOptions::slice_tokens(std::int64_t n_waiting) const {
  return mode == PromptMode::serial ? 1 : std::min(chunk_tokens, n_waiting);
}

PromptOptions parse_prompt_mode(std::string_view text, PromptOptions defaults) {
  constexpr std::string_view prefix = "passes=";
  if (text == "auto") {
    defaults.mode = PromptMode::automatic;
    return defaults;
  }
  if (text == "serial") {
    defaults.mode = PromptMode::serial;
    return defaults;
  }
  if (text == "adaptive") {
    defaults.mode = PromptMode::adaptive;
    return defaults;
  }
  if (text.starts_with(prefix)) {
    const std::string_view number = text.substr(prefix.size());
    const char* end = number.data() + number.size();
    const auto [parsed_to, error] = std::from_chars(number.data(), end, defaults.passes);
    if (error == std::errc() && parsed_to == end && defaults.passes >= 1) {
      defaults.mode = PromptMode::passes;
      return defaults;
    }
  }
  throw InputError("prompt mode '" + std::string(text) +
                   "': expected auto, serial, adaptive or passes=N with N at least 1");
}

}  // namespace condensed::engine
