#pragma once

#include <string>
#include <string_view>

#include "engine/session_snapshot.h"

namespace condensed::engine {

/// All of a snapshot but the cache's numbers, as JSON text.
std::string write_snapshot_fields(const SessionSnapshot& snapshot, const SnapshotModel& model);

/// The reverse; `cache` is left empty. Every value is checked: what comes back fits the model and itself.
/// Throws InputError naming the field, also for a snapshot of another model or kind of cache.
SessionSnapshot read_snapshot_fields(std::string_view json, const SnapshotModel& model);

}  // namespace condensed::engine
