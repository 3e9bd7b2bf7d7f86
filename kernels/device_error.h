#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace condensed::kernels {

/// A device could not be used, or failed at work: a launch, a copy, an allocation, a wait. What it was
/// computing is lost, and its memory may be; only a backend made anew may work again. The message says what
/// failed and what to do.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Memory was asked for that is not there; nothing else has happened, and the device goes on. The message
/// says how much of what for, and what to do.
class NoRoomError : public std::bad_alloc {
 public:
  explicit NoRoomError(std::string message) : message_(std::move(message)) {}

  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

}  // namespace condensed::kernels
