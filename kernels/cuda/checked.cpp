#include "kernels/cuda/checked.h"

#include <string>

#include "kernels/cuda/device_error.h"

namespace condensed::kernels::cuda {

namespace {

std::string_view remedy_of(cudaError_t result) {
  switch (result) {
    case cudaErrorMemoryAllocation:
      return "the device is out of memory: allow fewer sessions or end what else uses it";
    case cudaErrorNoDevice:
      return "no CUDA device is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the CPU";
    case cudaErrorInvalidDevice:
      return "choose a device that nvidia-smi lists";
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
      return "install a newer NVIDIA driver, or use the CPU";
    case cudaErrorNoKernelImageForDevice:
      return "this device is older than compute capability 8.0, which condensed is compiled for; use the CPU";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
      return "the device's state is lost: restart condensed, and report this with the output of "
             "compute-sanitizer";
    default:
      return "see the system's log for messages of the NVIDIA driver (Xid), or use the CPU";
  }
}

}  // namespace

void check(cudaError_t result, std::string_view call) {
  if (result != cudaSuccess) {
    cudaGetLastError();  // so that the next call does not report this one again
    throw DeviceError(call, std::string(cudaGetErrorString(result)) + " (" + cudaGetErrorName(result) + ")",
                      remedy_of(result));
  }
}

}  // namespace condensed::kernels::cuda
