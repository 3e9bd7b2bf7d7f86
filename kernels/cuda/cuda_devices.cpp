#include "kernels/cuda/cuda_devices.h"

#include <cuda_runtime.h>

#include "kernels/device_error.h"

namespace condensed::kernels {

namespace cuda {

namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string capability_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

std::string text_of(cudaError_t result) {
  if (result == cudaSuccess) {
    return {};
  }
  cudaGetLastError();
  return std::string(cudaGetErrorString(result)) + " (" + cudaGetErrorName(result) + ")";
}

// Makes no context: each would take hundreds of megabytes of a device that others use.
std::string describe(CudaDevice& device) {
  cudaDeviceProp properties{};
  if (const std::string error = text_of(cudaGetDeviceProperties(&properties, device.index)); !error.empty()) {
    return error;
  }
  device.name = properties.name;
  device.memory_bytes = properties.totalGlobalMem;
  device.free_bytes = properties.totalGlobalMem;
  device.compute_capability = 10 * properties.major + properties.minor;
  return {};
}

std::string ask_free_bytes(CudaDevice& device) {
  if (const std::string error = text_of(cudaSetDevice(device.index)); !error.empty()) {
    return error;
  }
  std::size_t total = 0;
  return text_of(cudaMemGetInfo(&device.free_bytes, &total));
}

std::string silence(int device, const std::string& error) {
  return "device " + std::to_string(device) + " does not answer: " + error;
}

/// Empty: the driver can run what condensed was built with.
std::string driver_defect(const DriverCalls& calls) {
  int driver = 0;
  int runtime = 0;
  if (const std::string error = calls.driver_version(driver); !error.empty()) {
    return "asking for the NVIDIA driver's version failed: " + error + "; reinstall the driver";
  }
  if (driver == 0) {
    return "there is no NVIDIA driver on this machine; install one, or load its kernel module (nvidia-smi "
           "shows whether it runs)";
  }
  if (const std::string error = calls.runtime_version(runtime); !error.empty()) {
    return "asking for the CUDA runtime's version failed: " + error;
  }
  // Within a major version an older driver runs newer programs.
  if (driver / 1000 < runtime / 1000) {
    return "the NVIDIA driver is too old: it knows CUDA " + version_text(driver) +
           ", and condensed was built with CUDA " + version_text(runtime) + "; install a newer driver";
  }
  return {};
}

}  // namespace

std::vector<CudaDevice> find_devices(const DriverCalls& calls, std::string& why_none) {
  why_none = driver_defect(calls);
  if (!why_none.empty()) {
    return {};
  }
  int count = 0;
  if (const std::string error = calls.device_count(count); !error.empty()) {
    why_none = "asking the NVIDIA driver for devices failed: " + error +
               "; check nvidia-smi, CUDA_VISIBLE_DEVICES, and who may open /dev/nvidia*";
    return {};
  }
  std::vector<CudaDevice> devices;
  std::string left_out;
  for (int index = 0; index < count; ++index) {
    CudaDevice device{.index = index};
    std::string error = calls.describe(device);
    // Of one that is alone: nothing else can be chosen.
    if (error.empty() && count == 1 && device.compute_capability >= kLeastComputeCapability) {
      error = calls.free_bytes(device);
    }
    if (error.empty() && device.compute_capability >= kLeastComputeCapability) {
      devices.push_back(device);
      continue;
    }
    left_out += left_out.empty() ? "" : ", ";
    left_out += error.empty() ? "device " + std::to_string(index) + " (" + device.name +
                                    ") has compute capability " + capability_text(device.compute_capability)
                              : silence(index, error);
  }
  if (devices.empty()) {
    why_none = count == 0 ? "the NVIDIA driver sees no device; check nvidia-smi and CUDA_VISIBLE_DEVICES"
                          : "no device can be used: " + left_out + "; condensed needs compute capability " +
                                capability_text(kLeastComputeCapability) + " or more";
  }
  return devices;
}

}  // namespace cuda

std::vector<CudaDevice> cuda_devices(std::string& why_none) {
  const cuda::DriverCalls calls{
      .driver_version = [](int& version) { return cuda::text_of(cudaDriverGetVersion(&version)); },
      .runtime_version = [](int& version) { return cuda::text_of(cudaRuntimeGetVersion(&version)); },
      .device_count = [](int& count) { return cuda::text_of(cudaGetDeviceCount(&count)); },
      .describe = cuda::describe,
      .free_bytes = cuda::ask_free_bytes};
  return cuda::find_devices(calls, why_none);
}

std::size_t cuda_free_bytes(int index) {
  CudaDevice device{.index = index};
  if (const std::string error = cuda::ask_free_bytes(device); !error.empty()) {
    throw DeviceError("CUDA " + cuda::silence(index, error) + "; check nvidia-smi, or use the CPU");
  }
  return device.free_bytes;
}

}  // namespace condensed::kernels
