// What becomes of sessions when the device fails that their caches are on.

#include <algorithm>
#include <functional>
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
  return {.code = ErrorCode::device_failed, .message = "session '" + id.name + "': " + what};
}

}  // namespace

std::variant<SessionSnapshot, Error> SessionTable::copy_of(const Session& session) {
  try {
    return session.snapshot();
  } catch (const kernels::DeviceError& error) {
    device_failure_ = error.what();
    Error failed = failed_under(session.id(), std::string("the device failed: ") + error.what());
    failed.retry_after_ms = kRetryMs;
    return failed;
  }
}

/// Null: the device has not taken the session. Who waits for it was told, unless it will be read from its
/// file again.
std::unique_ptr<Session> SessionTable::session_from(const EntryPtr& entry, SessionSnapshot snapshot) {
  Error error;
  try {
    return std::make_unique<Session>(model_, shape_, entry->id, std::move(snapshot), *options_.observer);
  } catch (const kernels::DeviceError& failed) {
    device_failure_ = failed.what();
    error = failed_under(entry->id, std::string("the device failed: ") + failed.what());
    error.retry_after_ms = kRetryMs;
  } catch (const std::bad_alloc& failed) {
    error = {.code = ErrorCode::memory_limit,
             .message = "no room for session '" + entry->id.name + "': " + failed.what(),
             .retry_after_ms = kRetryMs};
  }
  release(*entry);
  if (entry->on_disk && error.code == ErrorCode::device_failed) {
    entry->where = Entry::Where::waiting;
    arrivals_.push_front(entry);
    return nullptr;
  }
  if (entry->on_disk) {
    entry->where = Entry::Where::asleep;
  } else {
    forget(entry);
  }
  fail_operations(*entry, error);
  return nullptr;
}

/// False: the device does not give the session out, or there is no room for it here.
bool SessionTable::copy_out(Session& session, std::size_t& room_bytes) {
  const std::size_t bytes = session.copy_bytes();
  if (bytes > room_bytes) {
    return false;
  }
  try {
    session.leave_device();
  } catch (const kernels::DeviceError&) {
    return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
  room_bytes -= bytes;
  return true;
}

/// Out of memory without a copy: to the file that there is or will be, or for ever.
void SessionTable::go_back(const EntryPtr& entry, const std::string& what, Rescue& result) {
  const bool has_file = entry->on_disk || entry->saving;
  const std::int64_t kept = entry->saving ? entry->saving_position : entry->saved_position;
  const std::string fate = has_file ? "it goes back to its file, at position " + std::to_string(kept)
                                    : "it is lost, from position 0";
  const Error error{.code = ErrorCode::device_failed,
                    .message = what + "; session '" + entry->id.name + "': " + fate};
  entry->session->fail(error.message);
  entry->session->refuse_waiting(error);
  entry->last_info = entry->session->info();
  entry->last_info.position = kept;
  entry->session.reset();
  ++entry->stay;
  entry->saved_version.reset();
  entry->falling_asleep = false;
  release(*entry);
  std::erase(residents_, entry);
  for (const auto& reply : std::exchange(entry->save_replies, {})) {
    reply(error);
  }
  options_.went_back(entry->id);
  if (has_file) {
    ++result.went_back;
    let_wait(entry, Clock::now());
  } else {
    ++result.lost;
    forget(entry);
    fail_operations(*entry, error);
  }
}

/// Asleep, unless somebody waits for the session.
void SessionTable::let_wait(const EntryPtr& entry, Clock::time_point now) {
  entry->where = Entry::Where::asleep;
  if (!entry->operations.empty() && !entry->renaming) {
    entry->where = Entry::Where::waiting;
    entry->waiting_since = now;
    arrivals_.push_back(entry);
  }
}

/// Residents, those used latest first.
std::vector<SessionTable::EntryPtr> SessionTable::latest_first() const {
  std::vector<EntryPtr> sorted = residents_;
  std::ranges::stable_sort(sorted, std::greater<>(), &Entry::last_used);
  return sorted;
}

SessionTable::Rescue SessionTable::leave_device(const std::string& what,
                                                const std::function<bool(const EntryPtr&)>& may_copy,
                                                const std::function<void()>& beat) {
  Rescue result;
  std::size_t room_bytes = options_.max_rescued_bytes;
  for (const EntryPtr& entry : latest_first()) {
    beat();
    Session& session = *entry->session;
    if (saved(*entry) && may_sleep(*entry)) {
      ++result.kept;
      sleep(entry);
    } else if (may_copy(entry) && copy_out(session, room_bytes)) {
      ++result.kept;
      session.interrupt(FinishReason::failed, what + "; session '" + entry->id.name +
                                                  "': it stays as it is, at position " +
                                                  std::to_string(session.position()));
    } else {
      go_back(entry, what, result);
    }
  }
  device_failure_.clear();
  return result;
}

void SessionTable::return_to_device(const std::function<void()>& beat) {
  std::vector<EntryPtr> returning = latest_first();
  // Without files what exceeds the limit would be lost: it returns as far as there is room.
  while (keeps_files() && !returning.empty() && reserved_bytes_ > options_.max_cache_bytes) {
    beat();
    give_back(returning.back(),
              "all caches together may take " + std::to_string(options_.max_cache_bytes) + " bytes there");
    returning.pop_back();
  }
  for (const EntryPtr& entry : returning) {
    beat();
    try {
      entry->session->return_to_device();
    } catch (const kernels::DeviceError& failed) {
      device_failure_ = failed.what();
      return;
    } catch (const std::bad_alloc& failed) {
      give_back(entry, failed.what());
    }
  }
  const auto now = Clock::now();
  for (const EntryPtr& entry : arrivals_) {
    entry->waiting_since = now;  // nobody could be let in meanwhile
  }
  admit(now);
  next_look_ = std::min(next_look_, now);
}

/// There is less room than before: the session goes on from a file of what was copied, if files are kept.
void SessionTable::give_back(const EntryPtr& entry, const std::string& why) {
  const std::string what = "no room after the device was restarted: " + why;
  entry->session->drop_input(failed_under(entry->id, what));
  if (keeps_files() && !entry->saving && !entry->renaming && !saved(*entry)) {
    begin_save(entry);
  }
  Rescue result;
  go_back(entry, what, result);
  options_.warn("session '" + entry->id.name + "': " + what + (result.lost > 0 ? "; it is lost" : ""));
}

}  // namespace condensed::engine
