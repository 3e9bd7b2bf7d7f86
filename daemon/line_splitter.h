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
      if (!skipping_ && line_.size() + part.size() > max_line_bytes_) {
        skipping_ = true;
        line_ = {};
        on_too_long();
      }
      if (!skipping_) {
        line_ += part;
      }
      if (end == std::string_view::npos) {
        return;
      }
      bytes.remove_prefix(end + 1);
      if (!skipping_) {
        if (line_.ends_with('\r')) {
          line_.pop_back();
        }
        on_line(std::string_view(line_));
      }
      line_.clear();
      skipping_ = false;
    }
  }

 private:
  std::size_t max_line_bytes_;
  std::string line_;
  bool skipping_ = false;
};

}  // namespace condensed::daemon
