// When sessions are written to disk, and what is due.

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "engine/input_error.h"
#include "engine/session_table.h"
#include "engine/snapshot_file.h"

namespace condensed::engine {

namespace {

constexpr std::int64_t kMaxSavesUnderWay = 16;  // each holds a copy of a cache
constexpr std::chrono::milliseconds kFirstBackOff{1000};
constexpr std::chrono::milliseconds kLongestBackOff{30000};

}  // namespace

bool SessionTable::saved(const Entry& entry) const {
  return entry.on_disk && entry.session && entry.saved_version == entry.session->version();
}

void SessionTable::save(const EntryPtr& entry, Reply<SavedSnapshot> reply) {
  if (saved(*entry) && !entry->saving) {
    return reply(
        SavedSnapshot{.session = entry->id, .position = entry->saved_position, .bytes = entry->file_bytes});
  }
  entry->save_replies.push_back(std::move(reply));
  queue_save(entry);  // begins between steps: an append may be answered in the middle of one
}

void SessionTable::queue_save(const EntryPtr& entry) {
  if (!entry->save_queued) {
    entry->save_queued = true;
    save_queue_.push_back(entry);
  }
}

void SessionTable::begin_saves() {
  for (std::size_t left = save_queue_.size(); left > 0 && saves_under_way_ < kMaxSavesUnderWay; --left) {
    const EntryPtr entry = std::move(save_queue_.front());
    save_queue_.pop_front();
    if (entry->where != Entry::Where::resident) {
      entry->save_queued = false;
    } else if (entry->saving || entry->renaming || !(entry->session->settled() || ending_)) {
      save_queue_.push_back(entry);  // its turn comes
    } else {
      entry->save_queued = false;
      begin_save(entry);
    }
  }
}

void SessionTable::begin_save(const EntryPtr& entry) {
  auto replies = std::exchange(entry->save_replies, {});
  std::variant<SessionSnapshot, Error> copy = copy_of(*entry->session);
  if (const auto* failed = std::get_if<Error>(&copy)) {
    for (const Reply<SavedSnapshot>& reply : replies) {
      reply(*failed);
    }
    if (ending_) {
      options_.warn("not saved, its latest tokens are lost: " + failed->message);
    }
    return;
  }
  ++saves_under_way_;
  ledger_.snapshot_copied();
  entry->saving = true;
  entry->saving_position = entry->session->position();
  auto snapshot = std::make_shared<const SessionSnapshot>(std::move(std::get<SessionSnapshot>(copy)));
  const std::uint64_t version = entry->session->version();
  const std::uint64_t stay = entry->stay;
  const SessionId id = entry->id;
  run_beside({id}, Urgency::can_wait,
             [this, entry, snapshot, replies = std::move(replies), version, stay, id,
              began = Clock::now()]() -> std::function<void()> {
               std::variant<SavedSnapshot, Error> result = Error{ErrorCode::snapshot_failed, {}};
               try {
                 const std::vector<std::byte> file = encode_snapshot(*snapshot, snapshot_model_);
                 folder_->write(id, file);
                 result =
                     SavedSnapshot{.session = id, .position = snapshot->position(), .bytes = file.size()};
               } catch (const std::exception& failed) {
                 result = Error{ErrorCode::snapshot_failed,
                                "session '" + id.name + "' cannot be saved: " + failed.what()};
               }
               return [this, entry, version, stay, began, result = std::move(result), replies] {
                 finish_save(entry, version, began, stay, result, replies);
               };
             });
}

/// One that fails while a pause lasts, because it was asked for or had begun, neither prolongs it nor is
/// news.
void SessionTable::back_off(Error& error) {
  const auto now = Clock::now();
  options_.observer->on_snapshot_failed();
  if (now >= retry_saves_) {
    back_off_ = std::clamp(2 * back_off_, kFirstBackOff, kLongestBackOff);
    retry_saves_ = now + back_off_;
    options_.warn(error.message + "; trying again in " + std::to_string(back_off_.count()) + " ms");
  }
  next_look_ = std::min(next_look_, retry_saves_);
  error.retry_after_ms = std::chrono::ceil<std::chrono::milliseconds>(retry_saves_ - now).count();
}

void SessionTable::finish_save(const EntryPtr& entry, std::uint64_t version, Clock::time_point began,
                               std::uint64_t stay, std::variant<SavedSnapshot, Error> result,
                               std::vector<Reply<SavedSnapshot>> replies) {
  --saves_under_way_;
  entry->saving = false;
  const bool gone = entry->where == Entry::Where::gone;
  if (gone) {
    result = Error{ErrorCode::session_closed, "session '" + entry->id.name + "' was closed"};
  } else if (auto* error = std::get_if<Error>(&result)) {
    back_off(*error);
    entry->falling_asleep = false;
    if (!entry->session && !entry->on_disk) {  // that file was all that would have been left of it
      forget(entry);
      fail_operations(*entry, *error);
    }
  } else {
    const auto& written = std::get<SavedSnapshot>(result);
    back_off_ = {};
    options_.observer->on_snapshot_written(written.bytes, Clock::now() - began);
    entry->on_disk = true;
    if (entry->stay == stay) {
      entry->saved_version = version;
    }
    entry->saved_position = written.position;
    entry->file_bytes = written.bytes;
    if (!entry->session) {
      entry->last_info.position = written.position;
    }
    if (saved(*entry)) {  // what was asked for meanwhile is done: the session may go to sleep before its turn
      std::move(entry->save_replies.begin(), entry->save_replies.end(), std::back_inserter(replies));
      entry->save_replies.clear();
    }
  }
  next_look_ = std::min(next_look_, Clock::now());  // it was passed over while it was being written
  for (const Reply<SavedSnapshot>& reply : replies) {
    reply(result);
  }
  if (!gone && entry->falling_asleep && saved(*entry) && may_sleep(*entry)) {
    sleep(entry);
  }
}

void SessionTable::read_file(const EntryPtr& entry, Reply<ExportedSession> reply) {
  const SessionId id = entry->id;
  run_beside(
      {id}, Urgency::someone_waits,
      [this, id, position = entry->saved_position, reply = std::move(reply)]() -> std::function<void()> {
        std::variant<ExportedSession, Error> result = Error{ErrorCode::snapshot_failed, {}};
        try {
          result = ExportedSession{.session = id, .position = position, .file = folder_->read(id)};
        } catch (const std::exception& failed) {
          result = Error{ErrorCode::snapshot_failed,
                         "session '" + id.name + "' cannot be read from disk: " + failed.what()};
        }
        return [reply, result = std::move(result)]() mutable { reply(std::move(result)); };
      });
}

void SessionTable::run_beside(std::vector<SessionId> ids, Urgency urgency,
                              std::function<std::function<void()>()> work) {
  ++work_beside_;
  ledger_.job_begun();
  auto job = [this, work = std::move(work)] {
    post_([this, then = work()] {
      --work_beside_;
      ledger_.job_ended();
      then();
    });
  };
  if (urgency == Urgency::someone_waits) {
    thread_->post_urgent(std::move(ids), std::move(job));
  } else {
    thread_->post(std::move(ids), std::move(job));
  }
}

std::optional<Clock::time_point> SessionTable::maintain(Clock::time_point now) {
  for (const EntryPtr& entry : std::exchange(blocked_, {})) {
    run_operations(entry);
  }
  if (now >= next_look_) {
    look_for_due(now);
  }
  admit(now);
  begin_saves();
  Clock::time_point next = next_look_;
  if (!arrivals_.empty()) {
    next = std::min(next, now + std::chrono::milliseconds(100));  // somebody's patience may end
  }
  return next == Clock::time_point::max() ? std::nullopt : std::optional(next);
}

/// Looks which sessions have rested long enough to be saved or put to sleep, and when the next will have.
void SessionTable::look_for_due(Clock::time_point now) {
  next_look_ = Clock::time_point::max();
  if (!keeps_files()) {
    return;
  }
  const auto due = [&](Clock::time_point at) {
    at = std::max(at, retry_saves_);
    if (now < at) {
      next_look_ = std::min(next_look_, at);
    }
    return now >= at;
  };
  if (n_reserved_ > options_.max_resident_sessions || reserved_bytes_ > options_.max_cache_bytes) {
    make_room(0, now);  // the limits are lower than they were
  }
  std::vector<EntryPtr> sleepy;
  for (const EntryPtr& entry : residents_) {
    if (!may_sleep(*entry)) {
      continue;  // touched again when it comes to rest
    }
    if (options_.snapshots.on_idle && !saved(*entry) && !entry->saving &&
        due(entry->last_used + *options_.snapshots.on_idle)) {
      queue_save(entry);
    }
    if (options_.hibernate_after.count() > 0 && !entry->falling_asleep &&
        due(entry->last_used + options_.hibernate_after)) {
      sleepy.push_back(entry);
    }
  }
  for (const EntryPtr& entry : sleepy) {
    put_to_sleep(entry);
  }
}

bool SessionTable::save_all() {
  if (!std::exchange(ending_, true)) {
    for (const EntryPtr& entry : residents_) {
      if (keeps_files() && !saved(*entry)) {
        queue_save(entry);
      }
    }
  }
  begin_saves();
  return work_beside_ == 0 && save_queue_.empty();
}

}  // namespace condensed::engine
