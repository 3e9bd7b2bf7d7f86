#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace condensed::engine {

/// Which session: names are each user's own, so that nobody can tell what others call theirs.
struct SessionId {
  std::uint32_t user = 0;  // whose it is; the engine only compares
  std::string name;

  auto operator<=>(const SessionId&) const = default;  // NOLINT(modernize-use-nullptr): sees a 0 in it
};

}  // namespace condensed::engine
