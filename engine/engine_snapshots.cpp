// What the engine's thread does for requests about sessions as a whole: save, fork, rename, undo, move.

#include <utility>

#include "engine/engine_loop.h"
#include "engine/input_error.h"
#include "engine/snapshot_file.h"

namespace condensed::engine {

/// Whether nothing but its file speaks for the session now.
bool Engine::Loop::at_rest_on_disk(const SessionEntry& entry) {
  return entry.where == SessionEntry::Where::asleep && entry.operations.empty() && !entry.renaming;
}

void Engine::Loop::save(const SessionId& id, const Reply<SavedSnapshot>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  if (!table_.keeps_files()) {
    return reply(Error{ErrorCode::no_state_dir, "there is nowhere to save sessions; set state_dir"});
  }
  if (at_rest_on_disk(*entry)) {
    return reply(SavedSnapshot{.session = id, .position = entry->saved_position, .bytes = entry->file_bytes});
  }
  with_settled(entry, reply, [this, entry, reply](Session&) { table_.save(entry, reply); });
}

void Engine::Loop::fork(const SessionId& id, const std::string& as, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  with_settled(entry, reply, [this, user = id.user, as, reply](const Session& session) {
    const SessionId copy{user, as.empty() ? free_name(user) : as};
    if (std::optional<Error> refused = refuse_new(copy)) {
      return reply(std::move(*refused));
    }
    std::variant<SessionSnapshot, Error> state = table_.copy_of(session);
    if (auto* error = std::get_if<Error>(&state)) {
      return reply(std::move(*error));
    }
    add(copy, std::move(std::get<SessionSnapshot>(state)), reply);
  });
}

/// Adds a session in the state of a snapshot, whose name is free.
void Engine::Loop::add(const SessionId& id, SessionSnapshot snapshot, const Reply<SessionInfo>& reply) {
  const cache::StreamWindow window = snapshot.window;
  const EntryPtr added = table_.create(id, window, std::move(snapshot));
  table_.submit(added, {.run = [this, added, reply](Session&) { reply(table_.info(*added)); },
                        .fail = [reply](const Error& error) { reply(error); }});
}

void Engine::Loop::rename(const SessionId& id, const std::string& to, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  const auto rename_now = [this, entry, id, to, reply] {
    const SessionId target{id.user, to};
    if (entry->session && entry->session->generating()) {
      return reply(Error{ErrorCode::session_busy, "a generation is running on session '" + id.name +
                                                      "'; its tokens carry the name; cancel it first"});
    }
    if (table_.find(target)) {
      return reply(Error{ErrorCode::session_exists, "there is a session '" + to + "' already"});
    }
    table_.rename(entry, target, [this, entry, reply](const std::optional<Error>& error) {
      error ? reply(*error) : reply(table_.info(*entry));
    });
  };
  if (at_rest_on_disk(*entry)) {
    return rename_now();
  }
  with_settled(entry, reply, [rename_now](Session&) { rename_now(); });
}

void Engine::Loop::undo(const SessionId& id, std::int64_t tokens, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  with_settled(entry, reply, [this, entry, tokens, reply](Session& session) {
    if (session.generating()) {
      return reply(Error{ErrorCode::session_busy,
                         "a generation is running on session '" + session.id().name + "'; cancel it first"});
    }
    if (std::optional<Error> refused = session.undo(tokens)) {
      return reply(std::move(*refused));
    }
    reply(table_.info(*entry));
  });
}

void Engine::Loop::export_session(const SessionId& id, const Reply<ExportedSession>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  if (at_rest_on_disk(*entry)) {
    return table_.read_file(entry, reply);
  }
  with_settled(entry, reply, [this, id, reply](const Session& session) {
    std::variant<SessionSnapshot, Error> state = table_.copy_of(session);
    if (auto* error = std::get_if<Error>(&state)) {
      return reply(std::move(*error));
    }
    auto snapshot = std::make_shared<const SessionSnapshot>(std::move(std::get<SessionSnapshot>(state)));
    table_.run_beside({id}, SessionTable::Urgency::someone_waits,
                      [this, id, snapshot, reply]() -> std::function<void()> {
                        auto exported = std::make_shared<ExportedSession>(
                            ExportedSession{.session = id,
                                            .position = snapshot->position(),
                                            .file = encode_snapshot(*snapshot, table_.snapshot_model())});
                        return [exported, reply] { reply(std::move(*exported)); };
                      });
  });
}

void Engine::Loop::import_session(SessionId id, std::vector<std::byte> file,
                                  const Reply<SessionInfo>& reply) {
  auto shared = std::make_shared<const std::vector<std::byte>>(std::move(file));
  table_.run_beside({}, SessionTable::Urgency::someone_waits,
                    [this, id, shared, reply, max_window = options_.max_window]() -> std::function<void()> {
                      std::shared_ptr<SessionSnapshot> snapshot;
                      try {
                        snapshot = std::make_shared<SessionSnapshot>(
                            decode_snapshot(*shared, table_.snapshot_model(), max_window));
                      } catch (const std::exception& error) {
                        return [reply, message = std::string(error.what())] {
                          reply(Error{ErrorCode::snapshot_refused, message});
                        };
                      }
                      return [this, id, snapshot, reply] { imported(id, std::move(*snapshot), reply); };
                    });
}

void Engine::Loop::imported(SessionId id, SessionSnapshot snapshot, const Reply<SessionInfo>& reply) {
  if (ending_) {  // nothing would save it any more
    return reply(shutting_down());
  }
  if (id.name.empty()) {
    id.name = free_name(id.user);
  }
  std::optional<Error> refused = refuse_new(id);
  if (!refused) {
    refused = refuse_window(snapshot.window);
  }
  if (refused) {
    return reply(*std::move(refused));
  }
  add(id, std::move(snapshot), reply);
}

}  // namespace condensed::engine
