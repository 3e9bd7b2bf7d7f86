#include "daemon/descriptor_limit.h"

#include <algorithm>

#include <sys/resource.h>

namespace condensed::daemon {

namespace {
// Standard streams, the listening socket, those of the event loop, files that are read now and then.
constexpr rlim_t kOtherDescriptors = 32;
}  // namespace

std::int64_t provide_descriptors(std::int64_t connections) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return connections;  // nothing is known: the accepting loop copes
  }
  const rlim_t needed = static_cast<rlim_t>(connections) + kOtherDescriptors;
  if (limit.rlim_cur < needed) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = std::min(needed, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
      limit.rlim_cur = before;
    }
  }
  const rlim_t fit = limit.rlim_cur - std::min(limit.rlim_cur, kOtherDescriptors);
  return static_cast<std::int64_t>(std::min(fit, static_cast<rlim_t>(connections)));
}

}  // namespace condensed::daemon
