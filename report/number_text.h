#pragma once

#include <string>

namespace condensed::report {

/// As printf writes it; format holds one conversion of a double.
std::string formatted(const char* format, double value);

}  // namespace condensed::report
