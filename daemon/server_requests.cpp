// What the server does for each request.

#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/events.h"
#include "daemon/log_fields.h"
#include "daemon/process_metrics.h"
#include "daemon/server.h"

namespace condensed::daemon {

namespace asio = boost::asio;

namespace {
// Most requests are answered between two steps, which take about that long.
constexpr std::int64_t kRetryWhenAnsweredMs = 50;
}  // namespace

void Server::handle_line(const ConnectionPtr& connection, std::string_view line) {
  std::variant<Request, RequestError> parsed = parse_request(line);
  if (const auto* error = std::get_if<RequestError>(&parsed)) {
    // The message may quote what the client sent, which is nobody else's business.
    spdlog::debug("refused a request code={} connection={}", error->code, connection->number());
    send_error(connection, error->id, error->code, error->message);
    return;
  }
  Request& request = std::get<Request>(parsed);
  if (!connection->begin_request()) {
    send_error(connection, request.id, "request_limit",
               "as many requests of this connection are unanswered as max_requests_in_flight allows (" +
                   std::to_string(connection->limits().max_requests_in_flight) + ")",
               {.limit = "max_requests_in_flight", .retry_after_ms = kRetryWhenAnsweredMs});
    return;
  }
  status_.touch();
  guarded(connection, request.id, [&] {
    std::visit([&](auto& op) { handle(connection, request.id, std::move(op)); }, request.operation);
  });
}

/// A defect must cost one request, not the daemon.
template <typename Action>
void Server::guarded(const ConnectionPtr& connection, const std::string& id, Action action) {
  try {
    action();
  } catch (const std::exception& error) {
    spdlog::error("a request failed: {} code=internal connection={}", in_quotes(error.what()),
                  connection->number());
    send_error(connection, id, "internal", error.what());
  }
}

template <typename T, typename Answer>
engine::Reply<T> Server::reply_to(const ConnectionPtr& connection, const std::string& id,
                                  const std::string& session, Answer answer) {
  return [this, connection, id, session, answer = std::move(answer)](std::variant<T, engine::Error> result) {
    asio::post(io_, [this, connection, id, session, answer, result = std::move(result)] {
      connection->end_request();
      guarded(connection, id, [&] {
        if (const auto* error = std::get_if<engine::Error>(&result)) {
          spdlog::debug("refused a request: {}{} code={} connection={}", in_quotes(error->message),
                        session.empty() ? "" : " session=" + session, engine::name_of(error->code),
                        connection->number());
          send_error(connection, id, engine::name_of(error->code), error->message,
                     {session, error->limit, error->retry_after_ms, {}});
        } else {
          answer(std::get<T>(result));
        }
      });
    });
  };
}

template <typename T>
engine::Reply<T> Server::large(const ConnectionPtr& connection, engine::Reply<T> reply) {
  connection->begin_large_answer();
  return [this, connection, reply = std::move(reply)](std::variant<T, engine::Error> result) {
    reply(std::move(result));
    asio::post(io_, [connection] { connection->end_large_answer(); });
  };
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, OpenOp op) {
  std::string session = op.open.session.name;
  engine_.open(std::move(op.open), reply_to<engine::SessionInfo>(
                                       connection, id, session, [this, connection, id](const auto& info) {
                                         streams_.attach(info.session.name, connection);
                                         connection->send(with_id(opened_event(info), id));
                                       }));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, AppendOp op) {
  std::string session = op.session;
  engine_.append(
      engine::SessionId{.name = op.session}, std::move(op.input),
      reply_to<engine::AppendResult>(connection, id, session, [connection, id](const auto& result) {
        connection->send(with_id(appended_event(result), id));
      }));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, GenerateOp op) {
  std::string session = op.generate.session.name;
  auto stream = std::make_shared<PacedStream>(
      session, static_cast<std::size_t>(settings_.send_buffer_bytes),
      [this](std::shared_ptr<PacedStream> from, StreamEvent event, bool done) {
        asio::post(io_, [this, from = std::move(from), event = std::move(event), done] {
          streams_.deliver(from, event, done);
          if (done) {
            status_.touch();
          }
        });
      },
      [this] { engine_.wake(); });
  ++generates_asked_[session];
  auto reply = reply_to<engine::SessionInfo>(
      connection, id, session, [this, connection, id, stream, detached = op.detached](const auto&) {
        streams_.begin(stream, connection, id, detached);
      });
  engine_.generate(std::move(op.generate), stream, [this, session, reply = std::move(reply)](auto result) {
    reply(std::move(result));
    asio::post(io_, [this, session] { generate_answered(session); });
  });
}

void Server::generate_answered(const std::string& session) {
  const auto asked = generates_asked_.find(session);
  if (--asked->second == 0) {
    generates_asked_.erase(asked);
  }
  stop_if_unheard(session);
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, CancelOp op) {
  std::string session = op.session;
  engine_.cancel(engine::SessionId{.name = op.session},
                 reply_to<engine::SessionInfo>(connection, id, session, [connection, id](const auto& info) {
                   connection->send(with_id(position_event("cancelled", info), id));
                 }));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, AttachOp op) {
  std::string session = op.session;
  if (!op.from_position) {
    engine_.stat(
        engine::SessionId{.name = op.session},
        reply_to<engine::SessionInfo>(connection, id, session, [this, connection, id](const auto& info) {
          streams_.attach(info.session.name, connection);
          connection->send(with_id(attached_event(info), id));
        }));
    return;
  }
  auto reply = reply_to<engine::SessionInfo>(
      connection, id, session, [this, connection, id, from = *op.from_position](const auto& info) {
        attach_from(connection, id, info, from);
      });
  engine_.stat(engine::SessionId{.name = op.session}, large(connection, std::move(reply)));
}

/// Every token up to info.position has been delivered here, and none after it: the engine's answers and
/// tokens come in one order. So what is kept and what will come make the stream without a gap.
void Server::attach_from(const ConnectionPtr& connection, const std::string& id,
                         const engine::SessionInfo& info, std::int64_t from_position) {
  const std::int64_t kept_from = streams_.kept_from(info.session.name, info.position);
  ErrorDetails details{.session = info.session.name};
  if (from_position > info.position) {
    return send_error(connection, id, "bad_request",
                      "\"from_position\": expected at most " + std::to_string(info.position) +
                          ", the stream's position, found " + std::to_string(from_position),
                      details);
  }
  if (from_position < kept_from) {
    details.from_position = kept_from;
    return send_error(connection, id, "replay_gone",
                      "the events from position " + std::to_string(from_position) +
                          " on are not kept any more, only those from " + std::to_string(kept_from) + " on",
                      details);
  }
  streams_.attach_from(info.session.name, connection, from_position,
                       [&](std::int64_t n_events) { return with_id(attached_event(info, n_events), id); });
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, DetachOp op) {
  std::string session = op.session;
  engine_.stat(
      engine::SessionId{.name = op.session},
      reply_to<engine::SessionInfo>(connection, id, session, [this, connection, id](const auto& info) {
        streams_.detach(info.session.name, connection);
        stop_if_unheard(info.session.name);
        connection->send(with_id(detached_event(info.session.name), id));
      }));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, StatOp op) {
  if (op.session) {
    std::string session = *op.session;
    engine_.stat(
        engine::SessionId{.name = *op.session},
        reply_to<engine::SessionInfo>(connection, id, session, [this, connection, id](const auto& info) {
          connection->send(with_id(stat_event(info, streams_.attached_count(info.session.name)), id));
        }));
    return;
  }
  engine_.stat_engine(
      reply_to<engine::EngineInfo>(connection, id, {}, [this, connection, id](const auto& info) {
        const DaemonInfo daemon{.connections = static_cast<std::int64_t>(connections_.size()),
                                .resident_bytes = resident_bytes()};
        connection->send(with_id(stat_event(info, daemon), id));
      }));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, ListOp /*op*/) {
  auto reply = reply_to<std::vector<engine::SessionInfo>>(
      connection, id, {}, [this, connection, id](const auto& sessions) {
        std::vector<std::int64_t> attached;
        attached.reserve(sessions.size());
        for (const engine::SessionInfo& info : sessions) {
          attached.push_back(streams_.attached_count(info.session.name));
        }
        connection->send(with_id(list_event(sessions, attached), id));
      });
  engine_.list(std::nullopt, large(connection, std::move(reply)));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, CloseOp op) {
  std::string session = op.session;
  engine_.close(
      engine::SessionId{.name = op.session},
      reply_to<engine::SessionInfo>(connection, id, session, [this, connection, id](const auto& info) {
        const std::string event = position_event("closed", info);
        connection->send(with_id(event, id));
        streams_.closed(info.session.name, connection, event);
      }));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, PingOp /*op*/) {
  connection->end_request();
  connection->send(with_id(pong_event(), id));
}

void Server::handle(const ConnectionPtr& connection, const std::string& id, MetricsOp /*op*/) {
  engine_.stat_engine(
      reply_to<engine::EngineInfo>(connection, id, {}, [this, connection, id](const auto& info) {
        connection->send(with_id(metrics_event(metrics_text(info)), id));
      }));
}

}  // namespace condensed::daemon
