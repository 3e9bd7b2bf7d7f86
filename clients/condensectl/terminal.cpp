#include "clients/condensectl/terminal.h"

#include <cerrno>
#include <iostream>
#include <iterator>
#include <unistd.h>

namespace condensed::ctl {

Terminal::Terminal(bool json, bool verbose)
    : json_(json),
      verbose_(verbose || ::isatty(STDERR_FILENO) == 1),
      output_is_terminal_(::isatty(STDOUT_FILENO) == 1),
      input_is_terminal_(::isatty(STDIN_FILENO) == 1) {}

void Terminal::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      throw OutputClosed();
    }
    text.remove_prefix(static_cast<std::size_t>(n));
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

std::string Terminal::read_all_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

}  // namespace condensed::ctl
