#include "kernels/cuda/device_error.h"

#include <array>
#include <cstdio>

namespace condensed::kernels::cuda {

DeviceError::DeviceError(std::string_view call, std::string_view reason, std::string_view remedy)
    : kernels::DeviceError(std::string(call) + " failed: " + std::string(reason) + "; " +
                           std::string(remedy)),
      call_(call),
      reason_(reason) {}

std::string bytes_in_words(std::size_t bytes) {
  constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) {
    return std::to_string(bytes) + " bytes";
  }
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %s", value, kUnits[unit]);
  return text.data();
}

}  // namespace condensed::kernels::cuda
