#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace condensed::daemon {

/// Cuts a byte stream into lines of bounded length, one at a time: whoever reads them may stop in between.
class LineSplitter {
 public:
  enum class Found : std::uint8_t {
    nothing,   // the bytes are used up
    line,      // line() is the next one
    too_long,  // a line exceeds the limit; nothing of it is kept. Said once for each
  };

  explicit LineSplitter(std::size_t max_line_bytes) : max_line_bytes_(max_line_bytes) {}

  /// Goes on to the next end of a line in `bytes` and removes from it what has been read.
  Found next(std::string_view& bytes) {
    forget_line();
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      const bool ended = end != std::string_view::npos;
      bytes.remove_prefix(part.size() + (ended ? 1 : 0));
      if (skipping_) {
        skipping_ = !ended;
      } else if (exceeds_limit(part)) {
        skipping_ = !ended;
        line_ = {};
        return Found::too_long;
      } else {
        line_ += part;
        ended_ = ended;
      }
      if (ended_) {
        return Found::line;
      }
    }
    return Found::nothing;
  }

  /// Without its \n or \r\n; until next() is called again.
  std::string_view line() const {
    const std::string_view line = line_;
    return line.substr(0, line.size() - (line.ends_with('\r') ? 1 : 0));
  }

 private:
  static constexpr std::size_t kKeptBytes = 65536;

  void forget_line() {
    if (ended_) {
      ended_ = false;
      line_.clear();
      if (line_.capacity() > kKeptBytes) {
        line_.shrink_to_fit();  // a rare long line must not hold its memory for the connection's life
      }
    }
  }

  /// Whether the line so far and `part` are too long. A \r at the end, or that may yet be it, does not count.
  bool exceeds_limit(std::string_view part) const {
    const std::size_t size = line_.size() + part.size();
    const bool return_last = part.empty() ? line_.ends_with('\r') : part.ends_with('\r');
    return size > max_line_bytes_ + (return_last ? 1 : 0);
  }

  std::size_t max_line_bytes_;
  std::string line_;
  bool ended_ = false;
  bool skipping_ = false;
};

}  // namespace condensed::daemon
