#include "eval/progress.h"

#include <iostream>
#include <unistd.h>
#include <utility>

namespace condensed::eval {

Progress::Progress(std::string what, std::int64_t total)
    : what_(std::move(what)), total_(total), shown_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown_) {
    std::cerr << "\r\x1b[K";
  }
}

void Progress::advance(std::int64_t n) {
  done_ += n;
  const auto now = std::chrono::steady_clock::now();
  if (shown_ && now >= next_) {
    std::cerr << '\r' << what_ << ' ' << done_ << " of " << total_ << std::flush;
    next_ = now + std::chrono::milliseconds(200);
  }
}

}  // namespace condensed::eval
