#include "daemon/session_streams.h"

#include <algorithm>
#include <utility>

#include "daemon/events.h"

namespace condensed::daemon {

SessionStreams::Watcher* SessionStreams::Entry::watcher(const ConnectionPtr& connection) {
  const auto found = std::find_if(watchers.begin(), watchers.end(),
                                  [&](const Watcher& watcher) { return watcher.connection == connection; });
  return found == watchers.end() ? nullptr : &*found;
}

void SessionStreams::attach(const engine::SessionId& session, const ConnectionPtr& connection) {
  if (!connection->open()) {
    return;
  }
  Entry& entry = entries_[session];
  if (entry.watcher(connection) == nullptr) {
    entry.watchers.push_back({connection});
  }
  if (entry.stream && !entry.pacer) {
    set_pacer(entry, connection);
  }
}

void SessionStreams::attach_from(const engine::SessionId& session, const ConnectionPtr& connection,
                                 std::int64_t from_position,
                                 const std::function<std::string(std::int64_t n_events)>& attached) {
  if (!connection->open()) {
    return;
  }
  const std::vector<std::string> events = replay_.from(session, from_position);
  connection->send(attached(static_cast<std::int64_t>(events.size())));
  for (const std::string& event : events) {
    connection->send(event);
  }
  attach(session, connection);
  entries_[session].watcher(connection)->missed_tokens = 0;  // it has them now
}

std::int64_t SessionStreams::attached_count(const engine::SessionId& session) const {
  const auto found = entries_.find(session);
  return found == entries_.end() ? 0 : static_cast<std::int64_t>(found->second.watchers.size());
}

void SessionStreams::set_pacer(Entry& entry, const ConnectionPtr& pacer) {
  if (entry.pacer) {
    entry.pacer->end_pacing();
  }
  entry.pacer = pacer;
  if (pacer) {
    pacer->begin_pacing();
  }
  if (entry.stream) {
    entry.stream->hold(pacer && pacer->congested());
  }
}

void SessionStreams::begin(const std::shared_ptr<PacedStream>& stream, const ConnectionPtr& pacer,
                           const std::string& id, bool detached) {
  attach(stream->session(), pacer);
  Entry& entry = entries_[stream->session()];
  entry.stream = stream;
  entry.detached = detached;
  if (pacer->open()) {
    entry.id = id;
    set_pacer(entry, pacer);
  } else {
    hand_on(entry);
  }
}

bool SessionStreams::unheard(const engine::SessionId& session) const {
  const auto found = entries_.find(session);
  return found != entries_.end() && found->second.stream && found->second.watchers.empty() &&
         !found->second.detached;
}

/// The attached connection that has been there longest, if any, paces from now on.
void SessionStreams::hand_on(Entry& entry) {
  entry.id.clear();
  set_pacer(entry, entry.watchers.empty() ? nullptr : entry.watchers.front().connection);
}

void SessionStreams::send_to(const Watcher& watcher, const Entry& entry, const std::string& event) {
  if (watcher.connection != entry.pacer) {
    watcher.connection->send_unasked(event);
    return;
  }
  watcher.connection->send(with_id(event, entry.id), {entry.stream, event.size()});
  entry.stream->hold(watcher.connection->congested());
}

void SessionStreams::deliver(const std::shared_ptr<PacedStream>& stream, const StreamEvent& event,
                             bool done) {
  const auto found = entries_.find(stream->session());
  const bool current = found != entries_.end() && found->second.stream == stream;
  if (!current || !found->second.pacer) {
    stream->written(event.line.size());
  }
  if (!current) {
    return;
  }
  replay_.add(stream->session(), event);
  Entry& entry = found->second;
  for (Watcher& watcher : entry.watchers) {
    const bool paces = watcher.connection == entry.pacer;
    if (!paces && !done && watcher.connection->congested()) {
      ++watcher.missed_tokens;
      continue;
    }
    if (watcher.missed_tokens > 0) {
      watcher.connection->send_unasked(
          lagged_event(stream->session().name, std::exchange(watcher.missed_tokens, 0)));
    }
    send_to(watcher, entry, event.line);
  }
  if (done) {
    set_pacer(entry, nullptr);
    entry.stream = nullptr;
    entry.detached = false;
    if (entry.watchers.empty()) {
      entries_.erase(found);
    }
  }
}

void SessionStreams::drained(const ConnectionPtr& connection) {
  for (const auto& [session, entry] : entries_) {
    if (entry.stream && entry.pacer == connection) {
      entry.stream->hold(false);
    }
  }
}

void SessionStreams::detach(const engine::SessionId& session, const ConnectionPtr& connection) {
  const auto found = entries_.find(session);
  if (found == entries_.end()) {
    return;
  }
  Entry& entry = found->second;
  std::erase_if(entry.watchers, [&](const Watcher& watcher) { return watcher.connection == connection; });
  if (entry.stream && entry.pacer == connection) {
    hand_on(entry);
  }
  if (entry.watchers.empty() && !entry.stream) {
    entries_.erase(found);
  }
}

std::vector<engine::SessionId> SessionStreams::drop(const ConnectionPtr& connection) {
  std::vector<engine::SessionId> sessions;
  for (auto& [session, entry] : entries_) {
    if (entry.watcher(connection) != nullptr) {
      sessions.push_back(session);
    }
  }
  for (const engine::SessionId& session : sessions) {
    detach(session, connection);
  }
  return sessions;
}

void SessionStreams::closed(const engine::SessionId& session, const ConnectionPtr& requester,
                            const std::string& event) {
  replay_.forget(session);
  const auto found = entries_.find(session);
  if (found == entries_.end()) {
    return;
  }
  for (const Watcher& watcher : found->second.watchers) {
    if (watcher.connection != requester) {
      watcher.connection->send_unasked(event);
    }
  }
  entries_.erase(found);
}

void SessionStreams::renamed(const engine::SessionId& from, const engine::SessionId& to) {
  replay_.forget(from);  // its events carry the old name
  if (auto moved = entries_.extract(from)) {
    moved.key() = to;
    entries_.insert(std::move(moved));
  }
}

}  // namespace condensed::daemon
