#include "engine/text_stream.h"

#include <algorithm>
#include <utility>

#include "engine/utf8.h"

namespace condensed::engine {

namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
}

TextStream::TextStream(const Tokenizer& tokenizer, bool at_start)
    : tokenizer_(&tokenizer), at_start_(at_start) {}

TextStream::TextStream(const Tokenizer& tokenizer, State state)
    : tokenizer_(&tokenizer), at_start_(state.at_start), incomplete_(std::move(state.incomplete)) {}

std::string TextStream::push(std::int32_t token) {
  const Tokenizer::Kind kind = tokenizer_->kind(token);
  std::string_view bytes = tokenizer_->bytes(token);
  if (kind != Tokenizer::Kind::byte) {
    // A character's bytes stand next to each other, or are none: sentencepiece decodes it the same way.
    std::string text = flush();
    if (kind == Tokenizer::Kind::control) {
      return text;
    }
    if (at_start_) {
      const Tokenizer::LeadingSpace space = tokenizer_->leading_space();
      if (space != Tokenizer::LeadingSpace::shown && kind == Tokenizer::Kind::text &&
          bytes.starts_with(' ')) {
        bytes.remove_prefix(1);
      }
      at_start_ = space == Tokenizer::LeadingSpace::dropped && bytes.empty();
    }
    return text.append(bytes);
  }
  at_start_ = false;
  incomplete_ += bytes;
  std::string text;
  while (!incomplete_.empty() && !is_incomplete_utf8(incomplete_)) {
    if (const std::size_t n = valid_utf8_prefix(incomplete_); n > 0) {
      text.append(incomplete_, 0, n);
      incomplete_.erase(0, n);
    } else {
      text += kReplacement;
      incomplete_.erase(0, 1);
    }
  }
  return text;
}

std::string TextStream::flush() {
  std::string text;
  for (std::size_t i = 0; i < incomplete_.size(); ++i) {
    text += kReplacement;
  }
  incomplete_.clear();
  return text;
}

StopMatcher::StopMatcher(std::vector<std::string> stop, std::string held)
    : stop_(std::move(stop)), held_(std::move(held)) {
  std::erase(stop_, "");
}

StopMatcher::Result StopMatcher::push(std::string_view piece) {
  held_ += piece;
  // The first to be completed, so that the result does not depend on where pieces begin and end.
  std::size_t first = 0;
  std::size_t end = std::string::npos;
  const std::string* found = nullptr;
  for (const std::string& stop : stop_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos) {
      continue;
    }
    if (at + stop.size() < end || (at + stop.size() == end && at < first)) {
      first = at;
      end = at + stop.size();
      found = &stop;
    }
  }
  if (found != nullptr) {
    return {.text = std::exchange(held_, {}).substr(0, first), .stop = *found};
  }
  // What may be the beginning of a stop string stays.
  std::size_t keep = 0;
  for (const std::string& stop : stop_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) {
        keep = n;
      }
    }
  }
  std::string text = held_.substr(0, held_.size() - keep);
  held_.erase(0, text.size());
  return {.text = std::move(text), .stop = {}};
}

std::string StopMatcher::flush() {
  return std::exchange(held_, {});
}

}  // namespace condensed::engine
