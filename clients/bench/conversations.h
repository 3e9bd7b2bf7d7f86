#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace condensed::bench {

/// What users say: conversations, each of one or more turns. Immutable.
class Conversations {
 public:
  using Turns = std::vector<std::string>;

  /// A few dozen turns, from a word to half a page, that come with the program.
  static Conversations bundled();
  /// A file of UTF-8. If its first line is a JSON object, every line is one and has `turns`, a list of texts,
  /// as mt_bench's questions do; other keys are not looked at. Else each line is a turn, and an empty line
  /// ends a conversation. Throws std::invalid_argument, naming file and line, for what is neither.
  static Conversations from_file(const std::string& path);
  /// The same from text. source: what errors call it.
  static Conversations parse(std::string_view text, const std::string& source);

  std::size_t size() const { return all_.size(); }  // ≥ 1
  const Turns& operator[](std::size_t i) const { return all_[i]; }

 private:
  std::vector<Turns> all_;
};

}  // namespace condensed::bench
