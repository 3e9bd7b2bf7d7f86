#pragma once

#include <stdexcept>

namespace condensed::kernels {

/// A device could not be used, or failed at work: a launch, a copy, an allocation, a wait. What it was
/// computing is lost, and its memory may be; only a backend made anew may work again. The message says what
/// failed and what to do.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace condensed::kernels
