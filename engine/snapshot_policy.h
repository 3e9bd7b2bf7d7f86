#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace condensed::engine {

/// When sessions are written to the state folder without being asked to: what a crash may cost at most.
struct SnapshotPolicy {
  bool on_append = false;                    // before an append is answered
  std::optional<std::int64_t> every_tokens;  // while a session runs: at the latest after so many
  std::optional<std::chrono::milliseconds> on_idle{std::chrono::seconds(2)};  // after it has rested so long
};

/// "never", or one or more of "on_idle", "on_idle=MS", "every_tokens=N" and "on_append" with commas between.
/// Throws InputError for anything else.
SnapshotPolicy parse_snapshot_policy(std::string_view text);

}  // namespace condensed::engine
