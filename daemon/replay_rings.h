#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "engine/session_id.h"

namespace condensed::daemon {

/// One `token` or `done` event as a line without id, and the position it carries.
struct StreamEvent {
  std::string line;
  std::int64_t position = 0;
};

/// Keeps the latest events of each session, for clients that come back (docs/protocol.md, "Coming back").
/// When all rings together take too much, the one goes whose session was used least recently. Used on the
/// socket thread only.
class ReplayRings {
 public:
  struct Limits {
    std::size_t session_bytes = 0;  // 0: nothing is kept
    std::size_t total_bytes = 0;
  };
  // What an event and a ring cost beside the lines, roughly; the limits count it.
  static constexpr std::size_t kEventBytes = 64;
  static constexpr std::size_t kRingBytes = 512;

  explicit ReplayRings(const Limits& limits) : limits_(limits) {}

  /// The next event of the session. Positions do not decrease; where they do, the session has gone back, and
  /// what was kept is dropped.
  void add(const engine::SessionId& session, const StreamEvent& event);

  /// From which position on every event of the session is kept, given the position where its stream is now.
  std::int64_t kept_from(const engine::SessionId& session, std::int64_t stream_position) const;

  /// The lines of the events kept that have at least this position, in order.
  std::vector<std::string> from(const engine::SessionId& session, std::int64_t position);

  /// The session is gone.
  void forget(const engine::SessionId& session);

  /// As the limits count.
  std::size_t bytes() const { return bytes_; }

 private:
  struct Ring {
    std::deque<StreamEvent> events;
    std::int64_t complete_from = 0;  // nothing of this position or a later one has been dropped
    std::size_t bytes = kRingBytes;
    std::list<engine::SessionId>::iterator use;
  };
  using Rings = std::map<engine::SessionId, Ring>;

  Ring& used(const engine::SessionId& session, std::int64_t first_position);
  void drop_oldest(Ring& ring);

  Limits limits_;
  Rings rings_;
  std::list<engine::SessionId> uses_;  // names of sessions, the one used least recently first
  std::size_t bytes_ = 0;
};

}  // namespace condensed::daemon
