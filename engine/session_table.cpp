// Which sessions there are, and which of them are in memory.

#include "engine/session_table.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "engine/input_error.h"
#include "engine/model_fingerprint.h"
#include "engine/snapshot_file.h"
#include "kernels/device_error.h"

namespace condensed::engine {

namespace {

/// How long a request waits for busy sessions to make room, before it is turned away.
constexpr std::chrono::seconds kPatience{5};
constexpr std::int64_t kRetryMs = 1000;

Error session_closed(const SessionId& id) {
  return {ErrorCode::session_closed, "session '" + id.name + "' was closed"};
}

}  // namespace

SessionTable::SessionTable(Model& model, const cache::CacheShape& shape, const EngineOptions& options,
                           WorkLedger& ledger, Post post)
    : model_(model),
      shape_(shape),
      options_(options),
      ledger_(ledger),
      post_(std::move(post)),
      snapshot_model_{.fingerprint = fingerprint_of(model),
                      .shape = shape,
                      .vocab_size = model.config.vocab_size,
                      .has_text = model.tokenizer != nullptr},
      thread_(std::make_unique<SnapshotThread>()) {
  if (options.state_dir.empty()) {
    return;
  }
  folder_ = std::make_unique<SnapshotFolder>(options.state_dir, snapshot_model_);
  std::vector<SetAside> set_aside;
  const auto now = Clock::now();
  for (StoredSession& stored : folder_->scan(set_aside)) {
    auto entry = std::make_shared<Entry>();
    entry->id = stored.id;
    entry->window = stored.fields.window;
    entry->where = Entry::Where::asleep;
    entry->on_disk = true;
    entry->saved_position = stored.fields.position();
    entry->file_bytes = stored.file_bytes;
    entry->last_used = now - std::max(stored.age, std::chrono::nanoseconds(0));
    SessionInfo& info = entry->last_info;
    const auto& place = stored.fields.place;
    info.sinks = stored.fields.window.sinks;
    info.window = stored.fields.window.window;
    info.interrupted = stored.fields.generation.has_value();
    info.position = stored.fields.position();
    info.cached = std::min(place.position, stored.fields.window.sinks) + place.n_window;
    info.evictions = place.position - info.cached;
    info.cache_bytes_max = cache_bytes_of(*entry);
    entries_.emplace(stored.id, std::move(entry));
  }
  for (const SetAside& file : set_aside) {
    options_.warn("set aside " + file.from.string() + " as " + file.to.string() + ": " + file.reason);
  }
}

SessionTable::EntryPtr SessionTable::find(const SessionId& id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second;
}

std::int64_t SessionTable::n_asleep() const {
  return static_cast<std::int64_t>(entries_.size() - residents_.size());
}

SessionInfo SessionTable::info(const Entry& entry) const {
  SessionInfo info = entry.session ? entry.session->info() : entry.last_info;
  info.session = entry.id;
  info.asleep = !entry.session;
  if (info.asleep) {
    info.cache_bytes = 0;
  }
  if (entry.on_disk) {
    info.saved_position = entry.saved_position;
    info.snapshot_bytes = entry.file_bytes;
  }
  info.idle = Clock::now() - entry.last_used;
  return info;
}

std::size_t SessionTable::cache_bytes_of(const Entry& entry) const {
  return cache::CondensedCache::bytes_when_full(shape_, entry.window);
}

SessionTable::EntryPtr SessionTable::create(
    SessionId id, const cache::StreamWindow& window,
    std::variant<std::monostate, OpenRequest, SessionSnapshot> origin) {
  auto entry = std::make_shared<Entry>();
  entry->id = std::move(id);
  entry->window = window;
  entry->origin = std::move(origin);
  entry->last_used = entry->waiting_since = Clock::now();
  entry->last_info.sinks = window.sinks;
  entry->last_info.window = window.window;
  entries_.emplace(entry->id, entry);
  arrivals_.push_back(entry);
  return entry;
}

void SessionTable::touch(Entry& entry, Clock::time_point now) {
  entry.last_used = now;
  entry.falling_asleep = false;
  if (options_.snapshots.on_idle) {
    next_look_ = std::min(next_look_, now + *options_.snapshots.on_idle);
  }
  if (options_.hibernate_after.count() > 0) {
    next_look_ = std::min(next_look_, now + options_.hibernate_after);
  }
}

void SessionTable::submit(const EntryPtr& entry, SessionOperation operation) {
  const auto now = Clock::now();
  touch(*entry, now);
  entry->operations.push_back(std::move(operation));
  if (entry->where == Entry::Where::asleep && !entry->renaming) {
    entry->where = Entry::Where::waiting;
    entry->waiting_since = now;
    arrivals_.push_back(entry);
  }
  if (!arrivals_.empty()) {
    admit(now);
  }
  run_operations(entry);
}

/// Runs what may run now, in order.
void SessionTable::run_operations(const EntryPtr& entry) {
  if (entry->where == Entry::Where::resident && !model_.backend) {  // for good: the engine ends
    fail_operations(*entry, {ErrorCode::device_failed, "the device failed and could not be used again"});
  }
  while (!entry->operations.empty() && entry->where == Entry::Where::resident && !entry->renaming) {
    if (entry->operations.front().settled && !entry->session->settled()) {
      if (std::find(blocked_.begin(), blocked_.end(), entry) == blocked_.end()) {
        blocked_.push_back(entry);
      }
      return;
    }
    const SessionOperation operation = std::move(entry->operations.front());
    entry->operations.pop_front();
    operation.run(*entry->session);
  }
}

void SessionTable::fail_operations(Entry& entry, const Error& error) {
  for (const SessionOperation& operation : std::exchange(entry.operations, {})) {
    operation.fail(error);
  }
}

void SessionTable::progressed(const EntryPtr& entry, Clock::time_point now) {
  touch(*entry, now);
  if (const auto every = options_.snapshots.every_tokens;
      every && keeps_files() && entry->session->position() - entry->saved_position >= *every &&
      now >= retry_saves_) {
    queue_save(entry);
  }
}

// Who is in memory.

bool SessionTable::has_room(std::size_t bytes) const {
  return n_reserved_ < options_.max_resident_sessions && reserved_bytes_ + bytes <= options_.max_cache_bytes;
}

bool SessionTable::make_room_for(const EntryPtr& entry, std::int64_t n_tokens) {
  try {
    entry->session->make_room(n_tokens);
    return true;
  } catch (const kernels::DeviceError& failed) {
    device_failure_ = failed.what();
  } catch (const std::bad_alloc& failed) {
    stop_for_room(entry, failed.what());
  }
  return false;
}

void SessionTable::stop_for_room(const EntryPtr& entry, const std::string& why) {
  Session& session = *entry->session;
  const Error error{.code = ErrorCode::memory_limit,
                    .message = "no memory for more tokens of session '" + entry->id.name + "', at position " +
                               std::to_string(session.position()) + ": " + why,
                    .retry_after_ms = kRetryMs};
  session.interrupt(FinishReason::failed, error.message);
  session.drop_input(error);
}

/// Lets those who wait for room in, in their order.
void SessionTable::admit(Clock::time_point now) {
  while (!arrivals_.empty() && on_device()) {
    const EntryPtr entry = arrivals_.front();
    if (entry->where != Entry::Where::waiting) {
      arrivals_.pop_front();
      continue;
    }
    const std::size_t bytes = cache_bytes_of(*entry);
    if (!has_room(bytes)) {
      make_room(bytes, now);
    }
    if (!has_room(bytes)) {
      if (keeps_files() && now - entry->waiting_since < kPatience) {
        return;
      }
      arrivals_.pop_front();
      turn_away(entry);
      continue;
    }
    arrivals_.pop_front();
    reserved_bytes_ += bytes;
    ++n_reserved_;
    if (auto* request = std::get_if<OpenRequest>(&entry->origin)) {
      make_resident(entry,
                    std::make_unique<Session>(model_, shape_, entry->window, *request, *options_.observer));
    } else if (auto* snapshot = std::get_if<SessionSnapshot>(&entry->origin)) {
      SessionSnapshot state = std::move(*snapshot);
      entry->origin = std::monostate();
      if (auto session = session_from(entry, std::move(state))) {
        make_resident(entry, std::move(session));
      }
    } else {
      load(entry);
    }
  }
}

bool SessionTable::may_sleep(const Entry& entry) const {
  return entry.session->resting() && entry.operations.empty() && !entry.renaming && !entry.saving &&
         entry.save_replies.empty();
}

/// Puts those to sleep that were used least recently, until `bytes` more have room, or will have when the
/// snapshots under way are written.
void SessionTable::make_room(std::size_t bytes, Clock::time_point now) {
  if (!keeps_files()) {
    return;
  }
  std::size_t leaving_bytes = 0;
  std::int64_t n_leaving = 0;
  std::vector<EntryPtr> candidates;
  for (const EntryPtr& entry : residents_) {
    if (entry->falling_asleep) {
      leaving_bytes += cache_bytes_of(*entry);
      ++n_leaving;
    } else if (may_sleep(*entry) && (saved(*entry) || now >= retry_saves_)) {
      candidates.push_back(entry);
    }
  }
  const auto older = [](const EntryPtr& a, const EntryPtr& b) { return a->last_used < b->last_used; };
  std::sort(candidates.begin(), candidates.end(), older);
  for (const EntryPtr& entry : candidates) {
    if (n_reserved_ - n_leaving < options_.max_resident_sessions &&
        reserved_bytes_ - leaving_bytes + bytes <= options_.max_cache_bytes) {
      return;
    }
    if (!saved(*entry)) {  // those that are leave at once
      leaving_bytes += cache_bytes_of(*entry);
      ++n_leaving;
    }
    put_to_sleep(entry);
  }
}

void SessionTable::put_to_sleep(const EntryPtr& entry) {
  if (saved(*entry)) {
    sleep(entry);
  } else {
    entry->falling_asleep = true;
    queue_save(entry);
  }
}

void SessionTable::sleep(const EntryPtr& entry) {
  entry->last_info = entry->session->info();
  entry->session.reset();
  entry->saved_version.reset();
  entry->falling_asleep = false;
  entry->where = Entry::Where::asleep;
  options_.observer->on_session_hibernated();
  release(*entry);
  std::erase(residents_, entry);
}

void SessionTable::release(const Entry& entry) {
  reserved_bytes_ -= cache_bytes_of(entry);
  --n_reserved_;
}

void SessionTable::turn_away(const EntryPtr& entry) {
  const bool by_count = n_reserved_ >= options_.max_resident_sessions;
  Error error{ErrorCode::memory_limit,
              "no room in memory for session '" + entry->id.name + "': " + std::to_string(n_reserved_) +
                  " sessions there, of at most " + std::to_string(options_.max_resident_sessions) +
                  ", take " + std::to_string(reserved_bytes_) + " of " +
                  std::to_string(options_.max_cache_bytes) + " bytes of cache, and none of them rests" +
                  (keeps_files() ? "" : " on disk, because there is no state_dir")};
  error.limit = by_count ? "max_resident_sessions" : "max_cache_bytes";
  error.retry_after_ms = kRetryMs;
  if (entry->on_disk) {
    entry->where = Entry::Where::asleep;
  } else {
    forget(entry);
  }
  fail_operations(*entry, error);
}

void SessionTable::make_resident(const EntryPtr& entry, std::unique_ptr<Session> session) {
  entry->session = std::move(session);
  entry->session->rename(entry->id);
  entry->where = Entry::Where::resident;
  entry->origin = std::monostate();
  residents_.push_back(entry);
  run_operations(entry);
}

void SessionTable::load(const EntryPtr& entry) {
  entry->where = Entry::Where::loading;
  const SessionId id = entry->id;
  run_beside({id}, Urgency::someone_waits, [this, entry, id]() -> std::function<void()> {
    std::variant<SessionSnapshot, Error> result = Error{ErrorCode::snapshot_failed, {}};
    try {
      result = decode_snapshot(folder_->read(id), snapshot_model_, std::numeric_limits<std::int64_t>::max());
    } catch (const InputError& unusable) {
      Error error{ErrorCode::snapshot_refused,
                  "session '" + id.name + "' cannot be woken: " + unusable.what()};
      try {
        error.message += "; its file was set aside as " + folder_->set_aside(id).string();
      } catch (const std::exception& failed) {
        error.message += "; its file could not be set aside: " + std::string(failed.what());
      }
      result = std::move(error);
    } catch (const std::exception& failed) {
      result = Error{ErrorCode::snapshot_failed,
                     "session '" + id.name + "' cannot be read from disk: " + failed.what()};
    }
    return [this, entry, result = std::move(result)]() mutable { loaded(entry, std::move(result)); };
  });
}

void SessionTable::loaded(const EntryPtr& entry, std::variant<SessionSnapshot, Error> result) {
  if (entry->where == Entry::Where::gone) {  // closed meanwhile
    return release(*entry);
  }
  if (!on_device()) {  // it was read while the device failed
    release(*entry);
    return let_wait(entry, Clock::now());
  }
  if (const auto* error = std::get_if<Error>(&result)) {
    release(*entry);
    options_.warn(error->message);
    if (error->code == ErrorCode::snapshot_refused) {
      forget(entry);
    } else {
      entry->where = Entry::Where::asleep;
    }
    return fail_operations(*entry, *error);
  }
  auto session = session_from(entry, std::move(std::get<SessionSnapshot>(result)));
  if (!session) {
    return;
  }
  ledger_.session_woken();
  options_.observer->on_session_woken(Clock::now() - entry->waiting_since);
  entry->saved_version = session->version();
  make_resident(entry, std::move(session));
}

// What ends a session or gives it another name.

void SessionTable::forget(const EntryPtr& entry) {
  entry->where = Entry::Where::gone;
  entries_.erase(entry->id);
}

void SessionTable::close(const EntryPtr& entry, std::function<void(std::optional<Error>)> done) {
  if (entry->renaming) {  // nobody knows yet which name its file has
    return submit(entry, {.run = [this, entry, done](Session&) { close(entry, done); },
                          .fail = [done](const Error& error) { done(error); }});
  }
  const Error closed = session_closed(entry->id);
  if (entry->where == Entry::Where::resident) {
    entry->session->finish(FinishReason::closed);
    entry->session->refuse_waiting(closed);
    std::erase(residents_, entry);
    release(*entry);
  }
  forget(entry);
  entry->session.reset();
  fail_operations(*entry, closed);
  for (const auto& reply : std::exchange(entry->save_replies, {})) {
    reply(closed);
  }
  if (!keeps_files()) {
    return done(std::nullopt);
  }
  // Also without having saved it: what failed before may have left a file.
  run_beside({entry->id}, Urgency::can_wait,
             [this, id = entry->id, done = std::move(done)]() -> std::function<void()> {
               std::optional<Error> error;
               try {
                 folder_->remove(id);
               } catch (const std::exception& failed) {
                 error = Error{ErrorCode::snapshot_failed,
                               "session '" + id.name + "' is closed, but its file stays: " + failed.what()};
               }
               return [done, error] { done(error); };
             });
}

void SessionTable::rename(const EntryPtr& entry, SessionId to,
                          std::function<void(std::optional<Error>)> done) {
  const SessionId from = entry->id;
  entries_.emplace(to, entry);
  const auto take_name = [this, entry](const SessionId& name, const SessionId& other) {
    entry->id = name;
    if (entry->session) {
      entry->session->rename(name);
    }
    entries_.erase(other);
  };
  if (!entry->on_disk && !entry->saving) {
    take_name(to, from);
    return done(std::nullopt);
  }
  entry->renaming = true;
  run_beside({from, to}, Urgency::can_wait,
             [this, entry, from, to, take_name, done = std::move(done)]() -> std::function<void()> {
               std::optional<Error> error;
               try {
                 folder_->rename(from, to);
               } catch (const std::exception& failed) {
                 error = Error{ErrorCode::snapshot_failed,
                               "session '" + from.name + "' keeps its name: " + failed.what()};
               }
               return [this, entry, from, to, take_name, done, error] {
                 entry->renaming = false;
                 next_look_ = std::min(next_look_, Clock::now());
                 error ? take_name(from, to) : take_name(to, from);
                 done(error);
                 if (entry->where == Entry::Where::asleep) {
                   let_wait(entry, Clock::now());
                 }
                 run_operations(entry);
               };
             });
}

void SessionTable::refuse_arrivals(const Error& error) {
  for (const auto& [id, entry] : entries_) {
    fail_operations(*entry, error);
  }
  for (const EntryPtr& entry : std::exchange(arrivals_, {})) {
    if (entry->where != Entry::Where::waiting) {
      continue;
    }
    if (entry->on_disk) {
      entry->where = Entry::Where::asleep;
    } else {
      forget(entry);
    }
  }
}

}  // namespace condensed::engine
