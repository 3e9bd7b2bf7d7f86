#include "engine/utf8.h"

namespace condensed::engine {

namespace {

/// How many bytes a character that begins with `lead` has; 0 when none does.
std::size_t character_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// How many of the first bytes of `text` agree with one well-formed character.
std::size_t matching_bytes(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t length = character_length(lead);
  std::size_t n = length > 0 ? 1 : 0;
  for (; n > 0 && n < length && n < text.size(); ++n) {
    const auto byte = static_cast<unsigned char>(text[n]);
    // Overlong forms, surrogates and what lies above U+10FFFF show in the second byte.
    const unsigned least = n == 1 && lead == 0xE0 ? 0xA0U : n == 1 && lead == 0xF0 ? 0x90U : 0x80U;
    const unsigned most = n == 1 && lead == 0xED ? 0x9FU : n == 1 && lead == 0xF4 ? 0x8FU : 0xBFU;
    if (byte < least || byte > most) {
      break;
    }
  }
  return n;
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = character_length(static_cast<unsigned char>(text[at]));
    if (length == 0 || matching_bytes(text.substr(at)) < length) {
      break;
    }
    at += length;
  }
  return at;
}

bool is_valid_utf8(std::string_view text) {
  return valid_utf8_prefix(text) == text.size();
}

bool is_incomplete_utf8(std::string_view text) {
  return !text.empty() && matching_bytes(text) == text.size() &&
         text.size() < character_length(static_cast<unsigned char>(text.front()));
}

}  // namespace condensed::engine
