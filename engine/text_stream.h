#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer.h"

namespace condensed::engine {

/// Turns the tokens of one stream into text piece by piece: the pieces joined equal decoding all of them.
/// Holds back the bytes of an incomplete character; bytes that can no longer become one turn into U+FFFD.
class TextStream {
 public:
  /// at_start: the next token is the first with text in its stream, whose leading space is not shown.
  TextStream(const Tokenizer& tokenizer, bool at_start);

  /// Between two tokens.
  struct State {
    bool at_start = false;
    std::string incomplete;  // bytes of a character, at most 3
  };
  TextStream(const Tokenizer& tokenizer, State state);
  State state() const { return {.at_start = at_start_, .incomplete = incomplete_}; }

  /// The text that `token` completes; may be empty.
  std::string push(std::int32_t token);
  /// Ends the sequence: incomplete bytes come out as U+FFFD.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  bool at_start_;
  std::string incomplete_;  // at most 3 bytes
};

/// Finds stop strings in a streamed text, also where one spans several pieces, and holds back what may be
/// the beginning of one.
class StopMatcher {
 public:
  /// held: what another one held back, to go on from there.
  explicit StopMatcher(std::vector<std::string> stop, std::string held = {});

  struct Result {
    std::string text;  // may be shown: holds no stop string nor the beginning of one
    std::string stop;  // the stop string completed first, of several the longest; empty: none
  };
  /// After a stop string was found, do not push again.
  Result push(std::string_view piece);
  /// What was held back.
  std::string flush();
  const std::string& held() const { return held_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;
};

}  // namespace condensed::engine
