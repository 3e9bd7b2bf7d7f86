#pragma once

#include <cstdint>

namespace condensed::daemon {

/// Raises the process's soft limit of open files as far as `connections` need it and the hard limit allows.
/// Returns how many connections fit, which may be fewer.
std::int64_t provide_descriptors(std::int64_t connections);

}  // namespace condensed::daemon
