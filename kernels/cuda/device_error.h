#pragma once

#include <cstddef>
#include <new>
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

/// The device has no room; what() has the arithmetic.
class DeviceMemoryError : public std::bad_alloc {
 public:
  /// held: by this process's backend, of it in use: `used`.
  DeviceMemoryError(std::size_t asked, std::size_t held, std::size_t used, std::size_t free,
                    std::size_t total);

  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

/// "1.50 GiB", "64.0 KiB", "7 bytes"
std::string bytes_in_words(std::size_t bytes);

}  // namespace condensed::kernels::cuda
