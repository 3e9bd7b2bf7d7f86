// What becomes of sessions when the device fails that their caches are on.

#include <algorithm>
#include <new>
#include <utility>

#include "engine/input_error.h"
#include "engine/session_table.h"
#include "engine/snapshot_file.h"
#include "kernels/device_error.h"

namespace condensed::engine {

namespace {

constexpr std::int64_t kRetryMs = 1000;

Error failed_under(const SessionId& id, const std::string& what) {
  return {.code = ErrorCode::device_failed,
          .message = "session '" + id.name + "': " + what,
          .retry_after_ms = kRetryMs};
}

}  // namespace

std::variant<SessionSnapshot, Error> SessionTable::copy_of(const Session& session) {
  try {
    return session.snapshot();
  } catch (const kernels::DeviceError& error) {
    device_failure_ = error.what();
    return failed_under(session.id(), std::string("the device failed: ") + error.what());
  }
}

/// Null: the device has not taken the session, and who waits for it was told.
std::unique_ptr<Session> SessionTable::session_from(const EntryPtr& entry, SessionSnapshot snapshot) {
  Error error = failed_under(entry->id, "the device is gone");
  try {
    if (model_.backend) {
      return std::make_unique<Session>(model_, shape_, entry->id, std::move(snapshot), *options_.observer);
    }
  } catch (const kernels::DeviceError& failed) {
    device_failure_ = failed.what();
    error = failed_under(entry->id, std::string("the device failed: ") + failed.what());
  } catch (const std::bad_alloc& failed) {
    error = {.code = ErrorCode::memory_limit,
             .message = "no room for session '" + entry->id.name + "': " + failed.what(),
             .retry_after_ms = kRetryMs};
  }
  release(*entry);
  if (entry->on_disk) {
    entry->where = Entry::Where::asleep;
  } else {
    forget(entry);
  }
  fail_operations(*entry, error);
  return nullptr;
}

/// The session's state, if the device still gives it out. Its generation ends, and what waits for it is told.
std::optional<SessionSnapshot> SessionTable::rescue(const EntryPtr& entry, const std::string& what,
                                                    bool may_copy) {
  Session& session = *entry->session;
  std::optional<SessionSnapshot> copy;
  try {
    if (may_copy) {
      copy = session.snapshot();
    }
  } catch (const kernels::DeviceError&) {
    copy.reset();  // it is gone with the device's memory
  }
  const std::int64_t kept = copy                              ? session.position()
                            : entry->on_disk || entry->saving ? entry->saved_position
                                                              : 0;
  const std::string fate = copy                              ? "it stays as it is, at position "
                           : entry->on_disk || entry->saving ? "it goes back to its file, at position "
                                                             : "it is lost, from position ";
  const std::string message = what + "; session '" + entry->id.name + "': " + fate + std::to_string(kept);
  session.fail(message, copy.has_value());
  session.refuse_waiting(failed_under(entry->id, message));
  return copy;
}

SessionTable::Rescue SessionTable::leave_device(const std::string& what,
                                                const std::function<bool(const EntryPtr&)>& may_copy) {
  Rescue result;
  const auto now = Clock::now();
  for (const EntryPtr& entry : std::exchange(residents_, {})) {
    std::optional<SessionSnapshot> copy = rescue(entry, what, may_copy(entry));
    const bool was_saved = saved(*entry);
    entry->last_info = entry->session->info();
    entry->last_info.cache_bytes = 0;
    entry->session.reset();
    ++entry->stay;
    entry->saved_version.reset();
    entry->falling_asleep = false;
    release(*entry);
    for (const auto& reply : std::exchange(entry->save_replies, {})) {
      reply(failed_under(entry->id, what));
    }
    if (copy) {
      ++result.copied;
      entry->where = Entry::Where::waiting;
      entry->waiting_since = now;
      entry->origin = std::move(*copy);
      entry->copy_is_saved = was_saved;
      arrivals_.push_back(entry);
    } else if (entry->on_disk || entry->saving) {
      ++result.went_back;
      entry->where = Entry::Where::asleep;
      entry->last_info.position = entry->saved_position;
      entry->origin = std::monostate();
      options_.went_back(entry->id);
    } else {
      ++result.lost;
      options_.went_back(entry->id);
      forget(entry);
      fail_operations(*entry, failed_under(entry->id, what));
    }
  }
  device_failure_.clear();
  return result;
}

void SessionTable::return_to_device() {
  const auto now = Clock::now();
  for (const auto& [id, entry] : entries_) {
    if (entry->where == Entry::Where::asleep && !entry->operations.empty() && !entry->renaming) {
      entry->where = Entry::Where::waiting;
      entry->waiting_since = now;
      arrivals_.push_back(entry);
    }
  }
  admit(now);
  next_look_ = std::min(next_look_, now);
}

void SessionTable::save_copies() {
  for (const EntryPtr& entry : arrivals_) {
    auto* copy = std::get_if<SessionSnapshot>(&entry->origin);
    if (!keeps_files() || copy == nullptr || entry->where != Entry::Where::waiting) {
      continue;
    }
    auto snapshot = std::make_shared<const SessionSnapshot>(std::move(*copy));
    entry->origin = std::monostate();
    const SessionId id = entry->id;
    run_beside({id}, Urgency::can_wait, [this, entry, snapshot, id]() -> std::function<void()> {
      std::string failure;
      try {
        folder_->write(id, encode_snapshot(*snapshot, snapshot_model_));
      } catch (const std::exception& error) {
        failure = "session '" + id.name + "' cannot be saved: " + error.what();
      }
      return [this, entry, failure] {
        entry->on_disk = entry->on_disk || failure.empty();
        if (!failure.empty()) {
          options_.warn(failure);
        }
      };
    });
  }
}

}  // namespace condensed::engine
