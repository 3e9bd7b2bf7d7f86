#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <variant>

#include <boost/asio.hpp>

#include "daemon/access.h"
#include "daemon/connection.h"
#include "daemon/episode.h"
#include "daemon/events.h"
#include "daemon/import_buffers.h"
#include "daemon/inherited_sockets.h"
#include "daemon/metrics.h"
#include "daemon/metrics_endpoint.h"
#include "daemon/model_loading.h"
#include "daemon/requests.h"
#include "daemon/service_notifier.h"
#include "daemon/service_status.h"
#include "daemon/session_streams.h"
#include "daemon/settings.h"
#include "daemon/unix_listener.h"
#include "engine/engine.h"

namespace condensed::daemon {

/// The socket side of the daemon: accepts clients, hands their requests to the engine and its answers back.
/// Everything runs on the thread that calls run(); what the engine's thread calls only posts there.
class Server {
 public:
  /// What the server gets from whoever started the daemon.
  struct Start {
    InheritedSockets& sockets;                // it takes its own
    const ServiceNotifier& notifier;          // outlives the server
    std::function<Settings()> read_settings;  // as they are now; throws InputError
    Placement placement;                      // of the model
  };

  /// Listens on the inherited socket, if there is one, or at settings.socket. Throws InputError when the
  /// socket cannot be taken.
  Server(const Settings& settings, std::shared_ptr<engine::Model> model, Start start);

  /// Serves until SIGINT or SIGTERM, then ends generations, tells clients, and returns. SIGHUP reads the
  /// settings again. False: it ended because the device failed and could not be used again.
  bool run();

 private:
  using ConnectionPtr = std::shared_ptr<Connection>;

  /// Who asks, and whose sessions it is about.
  struct Caller {
    ConnectionPtr connection;
    std::string id;          // of the request
    std::uint32_t user = 0;  // whose sessions
    bool everybody = false;  // all users'

    engine::SessionId session(const std::string& name) const { return {user, name}; }
    void send(const std::string& event) const { connection->send(with_id(event, id)); }
  };

  void welcome(Connection::Socket socket);
  void handle_line(const ConnectionPtr& connection, std::string_view line);
  void forget(const ConnectionPtr& connection);
  void send_error(const ConnectionPtr& connection, const std::string& id, std::string_view code,
                  std::string_view message, const ErrorDetails& details = {});
  std::unique_ptr<MetricsEndpoint> make_metrics_endpoint();
  std::string metrics_text(const engine::EngineInfo& info);
  void wait_for_signal();
  void reread_settings();
  void reload(const Settings& next);
  void refresh_status();
  engine::EngineOptions engine_options();
  void model_moved(const Placement& placement);
  void device_gone(const std::string& why);
  void shut_down();
  void say_goodbye();

  void handle(const Caller& caller, OpenOp op);
  void handle(const Caller& caller, AppendOp op);
  void handle(const Caller& caller, GenerateOp op);
  void handle(const Caller& caller, CancelOp op);
  void handle(const Caller& caller, AttachOp op);
  void handle(const Caller& caller, DetachOp op);
  void handle(const Caller& caller, StatOp op);
  void handle(const Caller& caller, ListOp op);
  void handle(const Caller& caller, CloseOp op);
  void handle(const Caller& caller, PingOp op);
  void handle(const Caller& caller, MetricsOp op);
  void handle(const Caller& caller, const SaveOp& op);
  void handle(const Caller& caller, const ForkOp& op);
  void handle(const Caller& caller, const RenameOp& op);
  void handle(const Caller& caller, const UndoOp& op);
  void handle(const Caller& caller, const ExportOp& op);
  void handle(const Caller& caller, const ImportOp& op);

  /// An engine reply that is handled on the socket thread: ends the request and hands its result to
  /// `answer`, or what went wrong to the client.
  template <typename T, typename Answer>
  engine::Reply<T> reply_to(const Caller& caller, const std::string& session, Answer answer);
  /// The same for one that may be large: the connection rests until it is answered.
  template <typename T>
  engine::Reply<T> large(const ConnectionPtr& connection, engine::Reply<T> reply);
  template <typename Action>
  void guarded(const ConnectionPtr& connection, const std::string& id, Action action);
  void attach_from(const Caller& caller, const engine::SessionInfo& info, std::int64_t from_position);
  void generate_answered(const engine::SessionId& session);
  void stop_if_unheard(const engine::SessionId& session);
  boost::asio::awaitable<void> send_file(Caller caller, engine::ExportedSession exported);

  Settings settings_;
  Start start_;
  std::string model_name_;
  boost::asio::io_context io_;
  boost::asio::signal_set signals_;
  std::string metrics_path_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;  // null without a socket for metrics
  UnixListener listener_;                              // last of the sockets: who finds it finds all
  ServiceStatus status_;
  Access access_;
  ImportBuffers imports_;
  SessionStreams streams_;
  std::set<ConnectionPtr> connections_;
  std::map<engine::SessionId, std::int64_t> generates_asked_;  // by session: not answered by the engine yet
  std::int64_t next_connection_ = 1;
  Episode turned_away_{std::chrono::seconds(10)};
  bool stopping_ = false;
  bool asked_to_stop_ = false;  // by a signal
  bool device_gone_ = false;
  Metrics metrics_;
  engine::Engine engine_;  // after all that its thread posts to
  std::jthread stopper_;   // waits for the engine to stop
};

}  // namespace condensed::daemon
