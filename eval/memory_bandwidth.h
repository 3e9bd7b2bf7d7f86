#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace condensed::eval {

/// Bytes per second that n_threads together read from memory, the best of a few passes. Takes half a
/// gigabyte and about a second.
double read_bandwidth_bytes_per_s(int n_threads);

/// Bytes read and written per second when a backend copies a block of n_bytes in its memory to another, the
/// best of a few passes.
double copy_bandwidth_bytes_per_s(kernels::Backend& backend, std::size_t n_bytes);

}  // namespace condensed::eval
