#include "clients/condensectl/input.h"

#include <array>
#include <cerrno>
#include <poll.h>
#include <system_error>
#include <unistd.h>

namespace condensed::ctl {

namespace {
// A signal just before poll() does not wake it: look again after this.
constexpr int kSignalPollMs = 200;
}  // namespace

bool Input::is_terminal() {
  return ::isatty(STDIN_FILENO) == 1;
}

/// False at the end of the input.
bool Input::read_more() {
  while (true) {
    client_.io().restart();
    client_.io().poll();
    pollfd readable{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, kSignalPollMs) > 0) {
      std::array<char, 16384> block;
      const ssize_t n = ::read(STDIN_FILENO, block.data(), block.size());
      if (n >= 0) {
        read_.append(block.data(), static_cast<std::size_t>(n));
        return n > 0;
      }
      if (errno != EINTR && errno != EAGAIN) {
        throw std::system_error(errno, std::generic_category(), "standard input");
      }
    }
  }
}

std::optional<std::string> Input::line() {
  std::size_t end = read_.find('\n');
  while (end == std::string::npos && read_more()) {
    end = read_.find('\n');
  }
  if (end == std::string::npos && read_.empty()) {
    return std::nullopt;
  }
  std::string line = read_.substr(0, end);
  read_.erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

bool Input::fill(std::string& text, std::size_t size) {
  bool more = true;
  while (more && text.size() < size) {
    more = read_more();
    text += read_;
    read_.clear();
  }
  return more;
}

}  // namespace condensed::ctl
