#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace condensed::daemon {

/// Cuts a byte stream into lines of bounded length.
class LineSplitter {
 public:
  explicit LineSplitter(std::size_t max_line_bytes) : max_line_bytes_(max_line_bytes) {}

  /// Calls on_line(line) for every line that ends in `bytes`, without its \n or \r\n, and on_too_long() once
  /// for each that exceeds the limit; of such a line nothing is kept.
  template <typename OnLine, typename OnTooLong>
  void feed(std::string_view bytes, const OnLine& on_line, const OnTooLong& on_too_long) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      const bool ended = end != std::string_view::npos;
      if (!skipping_ && exceeds_limit(part)) {
        skipping_ = true;
        line_ = {};
        on_too_long();
      }
      if (!skipping_) {
        line_ += part;
      }
      if (!ended) {
        return;
      }
      bytes.remove_prefix(end + 1);
      if (!skipping_) {
        if (line_.ends_with('\r')) {
          line_.pop_back();
        }
        on_line(std::string_view(line_));
      }
      skipping_ = false;
      line_.clear();
      if (line_.capacity() > kKeptBytes) {
        line_.shrink_to_fit();  // a rare long line must not hold its memory for the connection's life
      }
    }
  }

 private:
  static constexpr std::size_t kKeptBytes = 65536;

  /// Whether the line so far and `part` are too long. A \r at the end, or that may yet be it, does not count.
  bool exceeds_limit(std::string_view part) const {
    const std::size_t size = line_.size() + part.size();
    const bool return_last = part.empty() ? line_.ends_with('\r') : part.ends_with('\r');
    return size > max_line_bytes_ + (return_last ? 1 : 0);
  }

  std::size_t max_line_bytes_;
  std::string line_;
  bool skipping_ = false;
};

}  // namespace condensed::daemon
