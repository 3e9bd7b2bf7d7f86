#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/connection.h"
#include "daemon/paced_stream.h"

namespace condensed::daemon {

/// Who is attached to which session, and who paces its generation (docs/protocol.md, "Attaching").
/// Used on the socket thread only.
class SessionStreams {
 public:
  using ConnectionPtr = std::shared_ptr<Connection>;

  void attach(const std::string& session, const ConnectionPtr& connection);
  bool attached(const std::string& session, const ConnectionPtr& connection) const;
  std::int64_t attached_count(const std::string& session) const;

  /// A generation has begun: `pacer` asked for it in the request `id`.
  void begin(const std::shared_ptr<PacedStream>& stream, const ConnectionPtr& pacer, const std::string& id);
  /// Whether a generation runs and nobody is attached to receive it.
  bool unheard(const std::string& session) const;

  /// A token (or the end) of the generation, formatted.
  void deliver(const std::shared_ptr<PacedStream>& stream, const std::string& event, bool done);
  /// The connection has room again: the generations it paces go on.
  void drained(const ConnectionPtr& connection);

  /// The connection leaves the session; the generation that it paces is handed on.
  void detach(const std::string& session, const ConnectionPtr& connection);
  /// The connection has ended. Returns the sessions it was attached to.
  std::vector<std::string> drop(const ConnectionPtr& connection);

  /// The session is gone: tells every attached connection but `requester`.
  void closed(const std::string& session, const ConnectionPtr& requester, const std::string& event);

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
  };

  static void send_to(const Watcher& watcher, const Entry& entry, const std::string& event);
  static void set_pacer(Entry& entry, const ConnectionPtr& pacer);
  static void hand_on(Entry& entry);

  std::map<std::string, Entry> entries_;
};

}  // namespace condensed::daemon
