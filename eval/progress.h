#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace condensed::eval {

/// One line on stderr that counts up, when stderr is a terminal.
class Progress {
 public:
  Progress(std::string what, std::int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::int64_t n = 1);

 private:
  std::string what_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  bool shown_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace condensed::eval
