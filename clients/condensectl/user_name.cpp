#include "clients/condensectl/user_name.h"

#include <array>
#include <pwd.h>

namespace condensed::ctl {

std::string user_name(std::int64_t id) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> text{};
  if (::getpwuid_r(static_cast<uid_t>(id), &entry, text.data(), text.size(), &found) == 0 &&
      found != nullptr) {
    return entry.pw_name;
  }
  return std::to_string(id);
}

}  // namespace condensed::ctl
