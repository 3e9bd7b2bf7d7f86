#pragma once

#include <cstddef>
#include <string_view>

/// Well-formed UTF-8 as in table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above
/// U+10FFFF.
namespace condensed::engine {

/// Bytes at the front of `text` that are whole, well-formed characters.
std::size_t valid_utf8_prefix(std::string_view text);

bool is_valid_utf8(std::string_view text);

/// Whether `text` is the beginning, but not the whole, of one well-formed character.
bool is_incomplete_utf8(std::string_view text);

}  // namespace condensed::engine
