#pragma once

#include <memory>

#include "kernels/backend.h"

namespace condensed::emulation {

/// The CUDA backend on emulated hardware: every kernel runs on the host.
std::unique_ptr<kernels::Backend> make_emulated_backend(int device = 0);

}  // namespace condensed::emulation
