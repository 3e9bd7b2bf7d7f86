#pragma once

#include <memory>

#include "kernels/backend.h"

namespace condensed::kernels {

/// The device of that index, as cuda_devices() lists them. Throws cuda::DeviceError, saying what is missing.
std::unique_ptr<Backend> make_cuda_backend(int device);

}  // namespace condensed::kernels
