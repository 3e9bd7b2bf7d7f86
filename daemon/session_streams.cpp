#include "daemon/session_streams.h"

#include <algorithm>
#include <utility>

#include "daemon/events.h"

namespace condensed::daemon {

void SessionStreams::attach(const std::string& session, const ConnectionPtr& connection) {
  if (connection->open() && !attached(session, connection)) {
    entries_[session].watchers.push_back({connection});
  }
}

bool SessionStreams::attached(const std::string& session, const ConnectionPtr& connection) const {
  const auto found = entries_.find(session);
  return found != entries_.end() &&
         std::any_of(found->second.watchers.begin(), found->second.watchers.end(),
                     [&](const Watcher& watcher) { return watcher.connection == connection; });
}

std::int64_t SessionStreams::attached_count(const std::string& session) const {
  const auto found = entries_.find(session);
  return found == entries_.end() ? 0 : static_cast<std::int64_t>(found->second.watchers.size());
}

bool SessionStreams::begin(const std::shared_ptr<PacedStream>& stream, const ConnectionPtr& pacer,
                           const std::string& id) {
  attach(stream->session(), pacer);
  Entry& entry = entries_[stream->session()];
  entry.stream = stream;
  entry.pacer = pacer;
  entry.id = id;
  return pacer->open() || hand_on(entry);
}

/// The attached connection that has been there longest paces from now on. False: there is none.
bool SessionStreams::hand_on(Entry& entry) {
  entry.id.clear();
  entry.pacer = entry.watchers.empty() ? nullptr : entry.watchers.front().connection;
  return entry.pacer != nullptr;
}

void SessionStreams::deliver(const std::shared_ptr<PacedStream>& stream, const std::string& event,
                             bool done) {
  const auto found = entries_.find(stream->session());
  const bool current = found != entries_.end() && found->second.stream == stream;
  if (!current || !found->second.pacer) {
    stream->written(event.size());
  }
  if (!current) {
    return;
  }
  Entry& entry = found->second;
  for (Watcher& watcher : entry.watchers) {
    const bool paces = watcher.connection == entry.pacer;
    if (!paces && !done && watcher.connection->congested()) {
      ++watcher.missed_tokens;
      continue;
    }
    if (watcher.missed_tokens > 0) {
      watcher.connection->send(lagged_event(stream->session(), std::exchange(watcher.missed_tokens, 0)));
    }
    if (paces) {
      watcher.connection->send(with_id(event, entry.id), {stream, event.size()});
    } else {
      watcher.connection->send(event);
    }
  }
  if (done) {
    entry.stream = nullptr;
    entry.pacer = nullptr;
    if (entry.watchers.empty()) {
      entries_.erase(found);
    }
  }
}

bool SessionStreams::detach(const std::string& session, const ConnectionPtr& connection) {
  const auto found = entries_.find(session);
  if (found == entries_.end()) {
    return false;
  }
  Entry& entry = found->second;
  std::erase_if(entry.watchers, [&](const Watcher& watcher) { return watcher.connection == connection; });
  const bool orphaned = entry.stream && entry.pacer == connection && !hand_on(entry);
  if (entry.watchers.empty() && !entry.stream) {
    entries_.erase(found);
  }
  return orphaned;
}

std::vector<std::string> SessionStreams::drop(const ConnectionPtr& connection) {
  std::vector<std::string> sessions;
  for (const auto& [session, entry] : entries_) {
    sessions.push_back(session);
  }
  std::erase_if(sessions, [&](const std::string& session) { return !detach(session, connection); });
  return sessions;
}

void SessionStreams::closed(const std::string& session, const ConnectionPtr& requester,
                            const std::string& event) {
  const auto found = entries_.find(session);
  if (found == entries_.end()) {
    return;
  }
  for (const Watcher& watcher : found->second.watchers) {
    if (watcher.connection != requester) {
      watcher.connection->send(event);
    }
  }
  entries_.erase(found);
}

}  // namespace condensed::daemon
