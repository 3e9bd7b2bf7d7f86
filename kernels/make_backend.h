#pragma once

#include <memory>
#include <string_view>

#include "kernels/backend.h"

namespace condensed::kernels {

/// kind: "auto" (the fastest this processor can run), "avx512vnni", "avx512", "avx2", or "reference" (plain,
/// single-threaded); or of a device: "cuda" (that with the most memory), "cuda:N".
/// n_threads: 0 means one per processor this process may run on.
/// Throws std::invalid_argument for an unknown kind, or one this processor cannot run, and DeviceError for a
/// device that cannot be used.
std::unique_ptr<Backend> make_backend(std::string_view kind, int n_threads);

}  // namespace condensed::kernels
