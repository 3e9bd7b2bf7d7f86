#pragma once

#include <cstdint>
#include <string>

namespace condensed::ctl {

/// The name of a user id on this machine, or the number if nobody has it.
std::string user_name(std::int64_t id);

}  // namespace condensed::ctl
