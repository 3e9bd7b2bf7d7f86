#pragma once

#include <cuda_runtime.h>
#include <string_view>

namespace condensed::kernels::cuda {

/// Throws DeviceError unless the call succeeded.
void check(cudaError_t result, std::string_view call);

}  // namespace condensed::kernels::cuda
