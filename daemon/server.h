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

#include "daemon/connection.h"
#include "daemon/episode.h"
#include "daemon/events.h"
#include "daemon/inherited_sockets.h"
#include "daemon/metrics.h"
#include "daemon/metrics_endpoint.h"
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
  };

  /// Listens on the inherited socket, if there is one, or at settings.socket. Throws InputError when the
  /// socket cannot be taken.
  Server(const Settings& settings, std::shared_ptr<engine::Model> model, Start start);

  /// Serves until SIGINT or SIGTERM, then ends generations, tells clients, and returns. SIGHUP reads the
  /// settings again.
  void run();

 private:
  using ConnectionPtr = std::shared_ptr<Connection>;

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
  void shut_down();
  void say_goodbye();

  void handle(const ConnectionPtr& connection, const std::string& id, OpenOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, AppendOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, GenerateOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, CancelOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, AttachOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, DetachOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, StatOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, ListOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, CloseOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, PingOp op);
  void handle(const ConnectionPtr& connection, const std::string& id, MetricsOp op);

  /// An engine reply that is handled on the socket thread: ends the request and hands its result to
  /// `answer`, or what went wrong to the client.
  template <typename T, typename Answer>
  engine::Reply<T> reply_to(const ConnectionPtr& connection, const std::string& id,
                            const std::string& session, Answer answer);
  /// The same for one that may be large: the connection rests until it is answered.
  template <typename T>
  engine::Reply<T> large(const ConnectionPtr& connection, engine::Reply<T> reply);
  template <typename Action>
  void guarded(const ConnectionPtr& connection, const std::string& id, Action action);
  void attach_from(const ConnectionPtr& connection, const std::string& id, const engine::SessionInfo& info,
                   std::int64_t from_position);
  void generate_answered(const std::string& session);
  void stop_if_unheard(const std::string& session);

  Settings settings_;
  Start start_;
  std::string model_name_;
  boost::asio::io_context io_;
  boost::asio::signal_set signals_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;  // null without metrics_socket
  UnixListener listener_;                              // last of the sockets: who finds it finds all
  ServiceStatus status_;
  SessionStreams streams_;
  std::set<ConnectionPtr> connections_;
  std::map<std::string, std::int64_t> generates_asked_;  // by session: not answered by the engine yet
  std::int64_t next_connection_ = 1;
  Episode turned_away_{std::chrono::seconds(10)};
  bool stopping_ = false;
  Metrics metrics_;
  engine::Engine engine_;  // after all that its thread posts to
  std::jthread stopper_;   // waits for the engine to stop
};

}  // namespace condensed::daemon
