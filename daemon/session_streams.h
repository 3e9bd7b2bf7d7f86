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

  /// A generation has begun: `pacer` asked for it in the request `id`. False if the pacer has gone and nobody
  /// else is attached.
  bool begin(const std::shared_ptr<PacedStream>& stream, const ConnectionPtr& pacer, const std::string& id);

  /// A token (or the end) of the generation, formatted.
  void deliver(const std::shared_ptr<PacedStream>& stream, const std::string& event, bool done);

  /// The connection leaves the session; its generation is handed on. True: nobody is left to receive the
  /// generation that runs.
  bool detach(const std::string& session, const ConnectionPtr& connection);
  /// The connection has ended. Returns the sessions whose generation nobody receives any more.
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
    ConnectionPtr pacer;
    std::string id;  // of the pacer's request; empty once handed on
  };

  static bool hand_on(Entry& entry);

  std::map<std::string, Entry> entries_;
};

}  // namespace condensed::daemon
