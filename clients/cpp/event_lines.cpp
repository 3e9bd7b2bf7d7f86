#include "clients/cpp/event_lines.h"

#include <algorithm>
#include <cstring>

namespace condensed::client {

std::optional<std::string_view> EventLines::next() {
  const char* const data = bytes_.data();
  const void* const found = std::memchr(data + searched_, '\n', end_ - searched_);
  if (found == nullptr) {
    searched_ = end_;
    return std::nullopt;
  }
  const auto line_end = static_cast<std::size_t>(static_cast<const char*>(found) - data);
  const std::string_view line(data + begin_, line_end - begin_);
  begin_ = searched_ = line_end + 1;
  return line;
}

/// Room for what comes next, behind the line that is not complete.
boost::asio::mutable_buffer EventLines::room() {
  std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  searched_ = end_;
  if (end_ == bytes_.size()) {
    bytes_.resize(2 * bytes_.size());
  }
  return boost::asio::buffer(bytes_.data() + end_, bytes_.size() - end_);
}

}  // namespace condensed::client
