#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace condensed::engine {

/// Has the backend set memory aside for the caches of sessions. Returns for how many of `wanted_bytes` it has
/// room. Throws kernels::NoRoomError where that is less than wanted and than one session takes, and what the
/// backend does.
std::size_t set_cache_memory_aside(kernels::Backend& backend, std::size_t wanted_bytes,
                                   std::size_t session_bytes);

}  // namespace condensed::engine
