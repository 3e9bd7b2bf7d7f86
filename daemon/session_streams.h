#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/connection.h"
#include "daemon/paced_stream.h"
#include "daemon/replay_rings.h"

namespace condensed::daemon {

/// Who is attached to which session, who paces its generation (docs/protocol.md, "Attaching"), and what those
/// who come back have missed. A generation that nobody paces runs at its own pace. Used on the socket thread
/// only.
class SessionStreams {
 public:
  using ConnectionPtr = std::shared_ptr<Connection>;

  explicit SessionStreams(const ReplayRings::Limits& replay) : replay_(replay) {}

  /// Attaches the connection, which then paces the generation if nobody else does.
  void attach(const engine::SessionId& session, const ConnectionPtr& connection);
  /// The same; before that it sends what `attached` makes of the number of events kept from this position on,
  /// and these events.
  void attach_from(const engine::SessionId& session, const ConnectionPtr& connection,
                   std::int64_t from_position,
                   const std::function<std::string(std::int64_t n_events)>& attached);
  /// From which position on nothing is missing, given where the session's stream is.
  std::int64_t kept_from(const engine::SessionId& session, std::int64_t stream_position) const {
    return replay_.kept_from(session, stream_position);
  }
  std::int64_t attached_count(const engine::SessionId& session) const;

  /// A generation has begun: `pacer` asked for it in the request `id`. A detached one goes on when nobody is
  /// attached.
  void begin(const std::shared_ptr<PacedStream>& stream, const ConnectionPtr& pacer, const std::string& id,
             bool detached = false);
  /// Whether a generation runs, nobody is attached to receive it, and it is not detached.
  bool unheard(const engine::SessionId& session) const;

  /// A token (or the end) of the generation, formatted.
  void deliver(const std::shared_ptr<PacedStream>& stream, const StreamEvent& event, bool done);
  /// The connection has room again: the generations it paces go on.
  void drained(const ConnectionPtr& connection);

  /// The connection leaves the session; the generation that it paces is handed on.
  void detach(const engine::SessionId& session, const ConnectionPtr& connection);
  /// The connection has ended. Returns the sessions it was attached to.
  std::vector<engine::SessionId> drop(const ConnectionPtr& connection);

  /// The session is gone: tells every attached connection but `requester`.
  void closed(const engine::SessionId& session, const ConnectionPtr& requester, const std::string& event);
  /// The session, which is not generating, has another name; those who are attached stay so.
  void renamed(const engine::SessionId& from, const engine::SessionId& to);
  /// The stream was taken back: what is kept of it was not to be.
  void went_back(const engine::SessionId& session) { replay_.forget(session); }

 private:
  struct Watcher {
    ConnectionPtr connection;
    std::int64_t missed_tokens = 0;
  };
  struct Entry {
    std::vector<Watcher> watchers;        // in the order they came
    std::shared_ptr<PacedStream> stream;  // the generation that runs, if any
    ConnectionPtr pacer;                  // one of the watchers; null when nobody is left
    std::string id;                       // of the pacer's request; empty once handed on
    bool detached = false;                // the stream goes on without watchers

    Watcher* watcher(const ConnectionPtr& connection);
  };

  static void send_to(const Watcher& watcher, const Entry& entry, const std::string& event);
  static void set_pacer(Entry& entry, const ConnectionPtr& pacer);
  static void hand_on(Entry& entry);

  std::map<engine::SessionId, Entry> entries_;
  ReplayRings replay_;
};

}  // namespace condensed::daemon
