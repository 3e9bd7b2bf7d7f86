#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "kernels/device_error.h"

namespace condensed::kernels::cuda {

/// A call of the device's libraries failed; what() says which, why, and what to do.
class DeviceError : public kernels::DeviceError {
 public:
  DeviceError(std::string_view call, std::string_view reason, std::string_view remedy);

  const std::string& call() const { return call_; }
  const std::string& reason() const { return reason_; }

 private:
  std::string call_;
  std::string reason_;
};

/// "1.50 GiB", "64.0 KiB", "7 bytes"
std::string bytes_in_words(std::size_t bytes);

}  // namespace condensed::kernels::cuda
