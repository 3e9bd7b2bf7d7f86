#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <vector>

#include "kernels/backend.h"

namespace condensed::gpu_check {

/// Numbers in a backend's memory, between two guards that nothing may write to.
template <typename T>
class DeviceArray {
 public:
  DeviceArray(kernels::Backend& backend, std::span<const T> numbers)
      : backend_(backend), n_(numbers.size()), memory_(backend.allocate((n_ + 2 * kGuard) * sizeof(T))) {
    std::vector<T> all(n_ + 2 * kGuard, kSentinel);
    std::copy(numbers.begin(), numbers.end(), all.begin() + kGuard);
    backend.upload(std::as_bytes(std::span(all)), bytes());
  }
  DeviceArray(kernels::Backend& backend, std::size_t n) : DeviceArray(backend, std::vector<T>(n)) {}
  DeviceArray(kernels::Backend& backend, const std::vector<T>& numbers)
      : DeviceArray(backend, std::span<const T>(numbers)) {}

  std::span<T> span() { return {reinterpret_cast<T*>(memory_.get()) + kGuard, n_}; }

  /// What the device holds now. Throws std::runtime_error if a guard was overwritten.
  std::vector<T> host() const {
    std::vector<T> all(n_ + 2 * kGuard);
    backend_.download(bytes(), std::as_writable_bytes(std::span(all)));
    for (std::size_t i = 0; i < kGuard; ++i) {
      if (all[i] != kSentinel || all[all.size() - 1 - i] != kSentinel) {
        throw std::runtime_error("written outside of the output");
      }
    }
    return {all.begin() + kGuard, all.end() - kGuard};
  }

 private:
  static constexpr std::size_t kGuard = 64;            // so that the numbers stay aligned
  static constexpr T kSentinel = static_cast<T>(113);  // a value of every type used

  std::span<std::byte> bytes() const { return {memory_.get(), (n_ + 2 * kGuard) * sizeof(T)}; }

  kernels::Backend& backend_;
  std::size_t n_;
  kernels::Memory memory_;
};

}  // namespace condensed::gpu_check
