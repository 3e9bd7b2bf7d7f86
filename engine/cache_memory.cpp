#include "engine/cache_memory.h"

#include <string>

#include "kernels/device_error.h"

namespace condensed::engine {

std::size_t set_cache_memory_aside(kernels::Backend& backend, std::size_t wanted_bytes,
                                   std::size_t session_bytes) {
  const std::size_t bytes = backend.reserve(wanted_bytes);
  if (bytes < wanted_bytes && bytes < session_bytes) {
    throw kernels::NoRoomError("there is room for " + std::to_string(bytes) +
                               " bytes of caches, and one session takes " + std::to_string(session_bytes) +
                               "; use fewer bits (weights, cache) or a smaller window, or end what else uses "
                               "the device");
  }
  return bytes;
}

}  // namespace condensed::engine
