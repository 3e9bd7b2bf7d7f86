#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "engine/model.h"

namespace condensed::eval {

/// Token ids from a JSON file: a list, or an object with "tokens" and, optionally, "sinks" and "window".
struct TokenFile {
  std::vector<std::int32_t> tokens;
  std::optional<std::int64_t> sinks;
  std::optional<std::int64_t> window;
};

/// Throws InputError for anything but that, an empty list, or ids outside [0, vocab_size).
TokenFile read_token_file(const std::filesystem::path& path, int vocab_size);

/// The first `max_tokens` tokens of a text file, tokenised as one text; with_bos: after the model's
/// beginning-of-sequence token. Throws InputError.
std::vector<std::int32_t> read_text_tokens(const engine::Model& model, const std::filesystem::path& path,
                                           bool with_bos, std::int64_t max_tokens);

}  // namespace condensed::eval
