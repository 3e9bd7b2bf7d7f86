#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace condensed::kernels {

/// A device as the driver describes it.
struct CudaDevice {
  int index = 0;
  std::string name;
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;
  int compute_capability = 0;  // 90: 9.0
};

/// The devices that this build can use; if there is none, why_none says why.
std::vector<CudaDevice> cuda_devices(std::string& why_none);

}  // namespace condensed::kernels
