#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/utf8.h"

namespace condensed::engine {

/// sentencepiece's tokenizer.model. Immutable; any thread may use it.
class Tokenizer {
 public:
  /// Throws InputError when the file cannot be read, is no sentencepiece model or a damaged one, or has more
  /// pieces than vocab_size.
  Tokenizer(const std::filesystem::path& model_file, int vocab_size);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Where a text stands in its stream: only the first gets sentencepiece's leading space.
  enum class Place : std::uint8_t { start, continuation };

  /// No beginning-of-sequence token is added. `text` must be valid UTF-8. Throws InputError when
  /// sentencepiece cannot encode it.
  std::vector<std::int32_t> encode(std::string_view text, Place place) const;

  enum class Kind : std::uint8_t { text, byte, control, unknown };
  /// Ids outside the model's pieces count as control tokens.
  Kind kind(std::int32_t token) const;

  /// The bytes a token stands for: "▁" as a space, byte-fallback tokens as their byte, control tokens as
  /// nothing. Valid UTF-8 but for byte tokens. The stream's leading space is TextStream's matter.
  std::string_view bytes(std::int32_t token) const;

  /// sentencepiece's own decoding of a whole sequence, of ids below n_pieces().
  std::string decode(const std::vector<std::int32_t>& tokens) const;

  int n_pieces() const;

  /// What decoding does with the space that a stream's text begins with: shows it; drops the one that the
  /// first piece of text may begin with; drops one from each piece as long as nothing was shown.
  enum class LeadingSpace : std::uint8_t { shown, dropped_once, dropped };
  LeadingSpace leading_space() const { return leading_space_; }

 private:
  struct Processors;
  std::unique_ptr<Processors> processors_;
  std::vector<std::string> bytes_;  // [n_pieces]
  std::vector<Kind> kinds_;         // [n_pieces]
  LeadingSpace leading_space_ = LeadingSpace::shown;
};

/// How many bytes at the front of `text` can be encoded now, at most about max_bytes, so that encoding part
/// after part gives the tokens of the whole: ends before a space that follows a non-space where it can.
/// Always > 0 for a non-empty text, never inside a UTF-8 character.
std::size_t encodable_prefix(std::string_view text, std::size_t max_bytes);

}  // namespace condensed::engine
