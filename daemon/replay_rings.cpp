#include "daemon/replay_rings.h"

#include <algorithm>

namespace condensed::daemon {

/// The session's ring, marked as just used; a new one if there is none.
ReplayRings::Ring& ReplayRings::used(const engine::SessionId& session, std::int64_t first_position) {
  const auto [found, is_new] = rings_.try_emplace(session);
  Ring& ring = found->second;
  if (is_new) {
    ring.complete_from = first_position;
    ring.use = uses_.insert(uses_.end(), session);
    bytes_ += ring.bytes;
  } else {
    uses_.splice(uses_.end(), uses_, ring.use);
  }
  return ring;
}

void ReplayRings::drop_oldest(Ring& ring) {
  const StreamEvent& oldest = ring.events.front();
  const std::size_t freed = oldest.line.size() + kEventBytes;
  ring.complete_from = oldest.position + 1;
  ring.bytes -= freed;
  bytes_ -= freed;
  ring.events.pop_front();
}

void ReplayRings::add(const engine::SessionId& session, const StreamEvent& event) {
  if (limits_.session_bytes == 0) {
    return;
  }
  if (const auto found = rings_.find(session); found != rings_.end() && !found->second.events.empty() &&
                                               found->second.events.back().position > event.position) {
    forget(session);
  }
  Ring& ring = used(session, event.position);
  const std::size_t added = event.line.size() + kEventBytes;
  ring.events.push_back(event);
  ring.bytes += added;
  bytes_ += added;
  while (ring.bytes > limits_.session_bytes && !ring.events.empty()) {
    drop_oldest(ring);
  }
  while (bytes_ > limits_.total_bytes && !uses_.empty()) {
    forget(engine::SessionId(uses_.front()));
  }
}

std::int64_t ReplayRings::kept_from(const engine::SessionId& session, std::int64_t stream_position) const {
  const auto found = rings_.find(session);
  return found == rings_.end() ? stream_position : std::min(found->second.complete_from, stream_position);
}

std::vector<std::string> ReplayRings::from(const engine::SessionId& session, std::int64_t position) {
  std::vector<std::string> lines;
  if (!rings_.contains(session)) {
    return lines;
  }
  for (const StreamEvent& event : used(session, position).events) {
    if (event.position >= position) {
      lines.push_back(event.line);
    }
  }
  return lines;
}

void ReplayRings::forget(const engine::SessionId& session) {
  const auto found = rings_.find(session);
  if (found == rings_.end()) {
    return;
  }
  bytes_ -= found->second.bytes;
  uses_.erase(found->second.use);
  rings_.erase(found);
}

}  // namespace condensed::daemon
