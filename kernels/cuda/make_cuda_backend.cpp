#include <string>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_devices.h"
#include "kernels/cuda/device_backend.h"
#include "kernels/cuda/device_error.h"

namespace condensed::kernels {

std::unique_ptr<Backend> make_cuda_backend(int device) {
  std::string why_none;
  const std::vector<CudaDevice> devices = cuda_devices(why_none);
  if (devices.empty()) {
    throw cuda::DeviceError("looking for CUDA devices", why_none, "use the CPU until that is mended");
  }
  for (const CudaDevice& candidate : devices) {
    if (candidate.index == device) {
      return std::make_unique<cuda::DeviceBackend>(device, cuda::load_cublas);
    }
  }
  std::string known;
  for (const CudaDevice& candidate : devices) {
    known += (known.empty() ? "" : ", ") + std::to_string(candidate.index) + " (" + candidate.name + ")";
  }
  throw cuda::DeviceError("opening CUDA device " + std::to_string(device), "there is none of that number",
                          "choose one of " + known);
}

}  // namespace condensed::kernels
