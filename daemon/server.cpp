#include "daemon/server.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/events.h"
#include "engine/input_error.h"

namespace condensed::daemon {

namespace asio = boost::asio;

namespace {
constexpr std::chrono::seconds kFlushDeadline{2};
// Nothing tells when a client will leave.
constexpr std::int64_t kRetryWhenClientsLeaveMs = 1000;

UnixListener listener(asio::io_context& io, const Settings& settings, InheritedSockets& sockets) {
  if (const std::optional<int> inherited = sockets.take(InheritedSockets::kProtocol)) {
    return {io, *inherited};
  }
  const auto known = [](const char* key, const std::string& name, auto find) {
    const std::optional<std::uint32_t> id = name.empty() ? std::nullopt : find(name);
    if (!id && !name.empty()) {
      throw engine::InputError(std::string(key) + ": there is no " + name);
    }
    return id;
  };
  const SocketOwner owner{.user = known("socket_owner", settings.socket_owner, user_id),
                          .group = known("socket_group", settings.socket_group, group_id)};
  return {io, settings.socket, settings.socket_permissions(), owner};
}

Access access(const std::string& admin_group) {
  if (admin_group.empty()) {
    return Access(std::nullopt);
  }
  const std::optional<std::uint32_t> group = group_id(admin_group);
  if (!group) {
    throw engine::InputError("admin_group: there is no group " + admin_group);
  }
  return Access(group);
}
}  // namespace

Server::Server(const Settings& settings, std::shared_ptr<engine::Model> model, Start start)
    : settings_(settings),
      start_(std::move(start)),
      model_name_(model->name),
      signals_(io_, SIGINT, SIGTERM, SIGHUP),
      metrics_endpoint_(make_metrics_endpoint()),
      listener_(listener(io_, settings, start_.sockets)),
      status_(io_, start_.notifier, [this] { refresh_status(); }),
      access_(access(settings.admin_group)),
      imports_(static_cast<std::size_t>(settings.max_import_bytes)),
      streams_({.session_bytes = static_cast<std::size_t>(settings.replay_bytes),
                .total_bytes = static_cast<std::size_t>(settings.max_replay_bytes)}),
      metrics_(model->name, std::string(model->backend->name())),
      engine_(std::move(model), engine_options()) {}

bool Server::run() {
  wait_for_signal();
  asio::co_spawn(io_,
                 listener_.accept_each([this](Connection::Socket socket) { welcome(std::move(socket)); }),
                 asio::detached);
  spdlog::info("listening on {}{}", listener_.path(), listener_.inherited() ? " (inherited)" : "");
  if (metrics_endpoint_) {
    metrics_endpoint_->start();
    spdlog::info("metrics on {}", metrics_path_);
  }
  start_.notifier.ready(status_.text());
  status_.touch();
  io_.run();
  return !device_gone_;
}

void Server::welcome(Connection::Socket socket) {
  const Connection::Limits limits{
      .max_line_bytes = static_cast<std::size_t>(settings_.max_line_bytes),
      .send_buffer_bytes = static_cast<std::size_t>(settings_.send_buffer_bytes),
      .max_requests_in_flight = settings_.max_requests_in_flight,
      .stall_timeout = std::chrono::milliseconds(settings_.stall_timeout_ms),
  };
  Peer peer;
  try {
    peer = peer_of(socket.native_handle());
  } catch (const std::system_error& error) {
    spdlog::warn("turned a client away: cannot tell who it is: {}", error.what());
    return;
  }
  const std::uint32_t user = peer.user;
  const bool full = static_cast<std::int64_t>(connections_.size()) >= settings_.max_connections;
  auto connection = std::make_shared<Connection>(
      std::move(socket), next_connection_++, limits,
      Connection::Handlers{
          .on_line = [this](const ConnectionPtr& from, std::string_view line) { handle_line(from, line); },
          .on_line_too_long =
              [this](const ConnectionPtr& from) {
                send_error(from, {}, "line_too_long",
                           "the line exceeds max_line_bytes (" + std::to_string(settings_.max_line_bytes) +
                               "); send long input in several appends",
                           {.limit = "max_line_bytes"});
              },
          .on_drained = [this](const ConnectionPtr& drained) { streams_.drained(drained); },
          .on_closed = [this](const ConnectionPtr& closed) { forget(closed); }},
      std::move(peer));
  if (full) {
    if (turned_away_.begins()) {
      spdlog::warn(
          "turning clients away: {} connections are open (max_connections) user={} code=connection_limit",
          connections_.size(), user);
    }
    send_error(connection, {}, "connection_limit",
               "as many connections are open as max_connections allows (" +
                   std::to_string(settings_.max_connections) + ")",
               {.limit = "max_connections", .retry_after_ms = kRetryWhenClientsLeaveMs});
    connection->close_when_written();
    return;
  }
  connections_.insert(connection);
  metrics_.on_connection();
  spdlog::debug("connection opened user={} connection={}", user, connection->number());
  status_.touch();
  connection->start();
}

void Server::send_error(const ConnectionPtr& connection, const std::string& id, std::string_view code,
                        std::string_view message, const ErrorDetails& details) {
  metrics_.on_error(code);
  connection->send(with_id(error_event(code, message, details), id));
}

void Server::forget(const ConnectionPtr& connection) {
  connections_.erase(connection);
  spdlog::debug("connection closed connection={}", connection->number());
  status_.touch();
  imports_.forget(connection->number());
  for (const engine::SessionId& session : streams_.drop(connection)) {
    stop_if_unheard(session);
  }
  if (stopping_ && connections_.empty()) {
    io_.stop();
  }
}

/// Ends the generation of a session when nobody is left to receive it. While a generate is on its way to the
/// engine, nobody here knows which generation a cancel would hit: its answer decides.
void Server::stop_if_unheard(const engine::SessionId& session) {
  if (streams_.unheard(session) && !generates_asked_.contains(session)) {
    engine_.cancel(session, [](const auto&) {});
  }
}

void Server::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) {
      return;
    }
    if (signal == SIGHUP) {
      reread_settings();
      wait_for_signal();
      return;
    }
    if (asked_to_stop_) {
      spdlog::warn("second signal: stopping at once");
      listener_.close();
      std::_Exit(1);
    }
    spdlog::info("signal {}: stopping", signal);
    asked_to_stop_ = true;
    wait_for_signal();
    if (!stopping_) {
      shut_down();
    }
  });
}

void Server::shut_down() {
  stopping_ = true;
  status_.stop();
  start_.notifier.stopping("Stopping");
  listener_.close();
  if (metrics_endpoint_) {
    metrics_endpoint_->close();
  }
  // The engine finishes its step, which may be long: a second signal must be heard meanwhile. What the engine
  // says on the way is posted before the goodbye.
  stopper_ = std::jthread([this] {
    const Patience patience(start_.notifier);  // many sessions may have to be saved
    engine_.shutdown();
    asio::post(io_, [this] { say_goodbye(); });
  });
}

void Server::say_goodbye() {
  for (const ConnectionPtr& connection : std::set<ConnectionPtr>(connections_)) {
    connection->send(bye_event());
    connection->close_when_written();
  }
  if (connections_.empty()) {
    io_.stop();
    return;
  }
  auto deadline = std::make_shared<asio::steady_timer>(io_, kFlushDeadline);
  deadline->async_wait([this, deadline](const boost::system::error_code&) {
    spdlog::warn("{} connections did not read their last events", connections_.size());
    io_.stop();
  });
}

}  // namespace condensed::daemon
