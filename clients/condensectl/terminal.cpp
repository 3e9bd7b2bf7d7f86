#include "clients/condensectl/terminal.h"

#include <cerrno>
#include <iostream>
#include <poll.h>
#include <system_error>
#include <unistd.h>

namespace condensed::ctl {

Terminal::Terminal(bool json, bool verbose)
    : json_(json),
      verbose_(verbose || ::isatty(STDERR_FILENO) == 1),
      output_is_terminal_(::isatty(STDOUT_FILENO) == 1) {}

void Terminal::write(std::string_view text) {
  while (!text.empty() && !output_closed_) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      output_closed_ = true;
    } else if (errno == EAGAIN) {  // whoever gave us the pipe made it so
      pollfd writable{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "standard output");
    }
  }
}

void Terminal::show(std::string_view text) {
  if (!json_) {
    write(text);
  }
}

void Terminal::event(const boost::json::object& event) {
  if (json_) {
    write(boost::json::serialize(event) + "\n");
  }
}

void Terminal::note(const std::string& line) {
  if (verbose_) {
    std::cerr << line << std::endl;
  }
}

}  // namespace condensed::ctl
