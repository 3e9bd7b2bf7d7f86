#include "report/number_text.h"

#include <array>
#include <cstdio>

namespace condensed::report {

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  const int n = std::snprintf(text.data(), text.size(), format, value);
  return {text.data(), static_cast<std::size_t>(n)};
}

}  // namespace condensed::report
