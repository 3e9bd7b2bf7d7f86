#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace condensed::kernels {

/// A device as the driver describes it.
struct CudaDevice {
  int index = 0;
  std::string name;
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;  // of several devices: memory_bytes; see cuda_free_bytes()
  int compute_capability = 0;  // 90: 9.0
};

/// The devices that condensed can compute on. None: why_none says what is missing and what to do about it.
std::vector<CudaDevice> cuda_devices(std::string& why_none);

/// Asks the device how much of its memory is free, which makes this process's context there: ask the one that
/// is to be used. Throws DeviceError.
std::size_t cuda_free_bytes(int index);

/// What a backend leaves free of a device's memory when it sets some aside for caches, for what steps take
/// beside: scratch memory, parameters, graphs.
constexpr std::size_t cuda_kept_bytes(std::size_t memory_bytes) {
  return std::min(std::size_t{1} << 30, memory_bytes / 8);
}

namespace cuda {

constexpr int kLeastComputeCapability = 80;  // what the kernels are compiled for

/// How the driver is asked; every call returns the text of its error, empty for none.
struct DriverCalls {
  std::function<std::string(int& version)> driver_version;   // 13000: CUDA 13.0; 0: there is no driver
  std::function<std::string(int& version)> runtime_version;  // what condensed was built with
  std::function<std::string(int& count)> device_count;
  std::function<std::string(CudaDevice& device)> describe;    // the device of that index
  std::function<std::string(CudaDevice& device)> free_bytes;  // of it
};

std::vector<CudaDevice> find_devices(const DriverCalls& calls, std::string& why_none);

}  // namespace cuda

}  // namespace condensed::kernels
