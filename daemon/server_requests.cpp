// What the server does for each request.

#include <algorithm>
#include <span>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/events.h"
#include "daemon/log_fields.h"
#include "daemon/process_metrics.h"
#include "daemon/server.h"
#include "kernels/cpu/thread_team.h"

namespace condensed::daemon {

namespace asio = boost::asio;

namespace {
// Most requests are answered between two steps, which take about that long.
constexpr std::int64_t kRetryWhenAnsweredMs = 50;
constexpr std::int64_t kRetryWhenImportedMs = 1000;
constexpr std::size_t kChunkBytes = 48 << 10;  // of an exported file in one event

/// set: the setting `threads`.
std::int64_t threads_that_compute(std::string_view backend, std::int64_t set) {
  if (backend == "reference") {
    return 1;
  }
  return set > 0 ? set : kernels::available_processors();
}
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
  const Access::Subject subject = access_.subject(connection->peer(), request.user);
  if (const auto* refusal = std::get_if<Access::Refusal>(&subject)) {
    spdlog::info("refused a request about others user={} code={} connection={}", connection->peer().user,
                 refusal->code, connection->number());
    send_error(connection, request.id, refusal->code, refusal->message);
    return;
  }
  const bool everybody = std::holds_alternative<Access::All>(subject);
  if (everybody && !std::holds_alternative<ListOp>(request.operation)) {
    send_error(connection, request.id, "bad_request", "\"user\": \"*\" is for list only; name one user");
    return;
  }
  if (!connection->begin_request()) {
    send_error(connection, request.id, "request_limit",
               "as many requests of this connection are unanswered as max_requests_in_flight allows (" +
                   std::to_string(connection->limits().max_requests_in_flight) + ")",
               {.limit = "max_requests_in_flight", .retry_after_ms = kRetryWhenAnsweredMs});
    return;
  }
  status_.touch();
  const Caller caller{.connection = connection,
                      .id = request.id,
                      .user = everybody ? 0 : std::get<std::uint32_t>(subject),
                      .everybody = everybody};
  guarded(connection, request.id,
          [&] { std::visit([&](auto& op) { handle(caller, std::move(op)); }, request.operation); });
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
engine::Reply<T> Server::reply_to(const Caller& caller, const std::string& session, Answer answer) {
  return [this, caller, session, answer = std::move(answer)](std::variant<T, engine::Error> result) {
    asio::post(io_, [this, caller, session, answer, result = std::move(result)]() mutable {
      caller.connection->end_request();
      guarded(caller.connection, caller.id, [&] {
        if (const auto* error = std::get_if<engine::Error>(&result)) {
          spdlog::debug("refused a request: {}{} user={} code={} connection={}", in_quotes(error->message),
                        session.empty() ? "" : " session=" + session, caller.user,
                        engine::name_of(error->code), caller.connection->number());
          send_error(caller.connection, caller.id, engine::name_of(error->code), error->message,
                     {session, error->limit, error->retry_after_ms, {}});
        } else {
          answer(std::move(std::get<T>(result)));
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

void Server::handle(const Caller& caller, OpenOp op) {
  const std::string name = op.open.session.name;
  op.open.session.user = caller.user;
  engine_.open(std::move(op.open),
               reply_to<engine::SessionInfo>(caller, name, [this, caller](const auto& info) {
                 streams_.attach(info.session, caller.connection);
                 caller.send(opened_event(info));
               }));
}

void Server::handle(const Caller& caller, AppendOp op) {
  engine_.append(caller.session(op.session), std::move(op.input),
                 reply_to<engine::AppendResult>(caller, op.session, [caller](const auto& result) {
                   caller.send(appended_event(result));
                 }));
}

void Server::handle(const Caller& caller, GenerateOp op) {
  op.generate.session.user = caller.user;
  const engine::SessionId session = op.generate.session;
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
  auto reply = reply_to<engine::SessionInfo>(caller, session.name,
                                             [this, caller, stream, detached = op.detached](const auto&) {
                                               streams_.begin(stream, caller.connection, caller.id, detached);
                                             });
  engine_.generate(std::move(op.generate), stream, [this, session, reply = std::move(reply)](auto result) {
    reply(std::move(result));
    asio::post(io_, [this, session] { generate_answered(session); });
  });
}

void Server::generate_answered(const engine::SessionId& session) {
  const auto asked = generates_asked_.find(session);
  if (--asked->second == 0) {
    generates_asked_.erase(asked);
  }
  stop_if_unheard(session);
}

void Server::handle(const Caller& caller, CancelOp op) {
  engine_.cancel(caller.session(op.session),
                 reply_to<engine::SessionInfo>(caller, op.session, [caller](const auto& info) {
                   caller.send(position_event("cancelled", info));
                 }));
}

void Server::handle(const Caller& caller, AttachOp op) {
  if (!op.from_position) {
    engine_.stat(caller.session(op.session),
                 reply_to<engine::SessionInfo>(caller, op.session, [this, caller](const auto& info) {
                   streams_.attach(info.session, caller.connection);
                   caller.send(attached_event(info));
                 }));
    return;
  }
  auto reply = reply_to<engine::SessionInfo>(
      caller, op.session,
      [this, caller, from = *op.from_position](const auto& info) { attach_from(caller, info, from); });
  engine_.stat(caller.session(op.session), large(caller.connection, std::move(reply)));
}

/// Every token up to info.position has been delivered here, and none after it: the engine's answers and
/// tokens come in one order. So what is kept and what will come make the stream without a gap.
void Server::attach_from(const Caller& caller, const engine::SessionInfo& info, std::int64_t from_position) {
  const std::int64_t kept_from = streams_.kept_from(info.session, info.position);
  ErrorDetails details{.session = info.session.name};
  if (from_position > info.position) {
    return send_error(caller.connection, caller.id, "bad_request",
                      "\"from_position\": expected at most " + std::to_string(info.position) +
                          ", the stream's position, found " + std::to_string(from_position),
                      details);
  }
  if (from_position < kept_from) {
    details.from_position = kept_from;
    return send_error(caller.connection, caller.id, "replay_gone",
                      "the events from position " + std::to_string(from_position) +
                          " on are not kept any more, only those from " + std::to_string(kept_from) + " on",
                      details);
  }
  streams_.attach_from(info.session, caller.connection, from_position, [&](std::int64_t n_events) {
    return with_id(attached_event(info, n_events), caller.id);
  });
}

/// In turn, so that its answer says that a generate before it has begun or been refused.
void Server::handle(const Caller& caller, DetachOp op) {
  engine_.stat_in_turn(caller.session(op.session),
                       reply_to<engine::SessionInfo>(caller, op.session, [this, caller](const auto& info) {
                         streams_.detach(info.session, caller.connection);
                         stop_if_unheard(info.session);
                         caller.send(detached_event(info.session.name));
                       }));
}

void Server::handle(const Caller& caller, StatOp op) {
  if (op.session) {
    engine_.stat(caller.session(*op.session),
                 reply_to<engine::SessionInfo>(caller, *op.session, [this, caller](const auto& info) {
                   caller.send(stat_event(info, streams_.attached_count(info.session)));
                 }));
    return;
  }
  engine_.stat_engine(reply_to<engine::EngineInfo>(caller, {}, [this, caller](const auto& info) {
    const DaemonInfo daemon{.connections = static_cast<std::int64_t>(connections_.size()),
                            .resident_bytes = resident_bytes(),
                            .threads = threads_that_compute(info.backend, settings_.threads),
                            .settings = &settings_};
    caller.send(stat_event(info, daemon));
  }));
}

void Server::handle(const Caller& caller, ListOp /*op*/) {
  auto reply = reply_to<std::vector<engine::SessionInfo>>(caller, {}, [this, caller](const auto& sessions) {
    std::vector<std::int64_t> attached;
    attached.reserve(sessions.size());
    for (const engine::SessionInfo& info : sessions) {
      attached.push_back(streams_.attached_count(info.session));
    }
    caller.send(list_event(sessions, attached));
  });
  engine_.list(caller.everybody ? std::nullopt : std::optional(caller.user),
               large(caller.connection, std::move(reply)));
}

void Server::handle(const Caller& caller, CloseOp op) {
  engine_.close(caller.session(op.session),
                reply_to<engine::SessionInfo>(caller, op.session, [this, caller](const auto& info) {
                  const std::string event = position_event("closed", info);
                  caller.send(event);
                  streams_.closed(info.session, caller.connection, event);
                }));
}

void Server::handle(const Caller& caller, PingOp /*op*/) {
  caller.connection->end_request();
  caller.send(pong_event());
}

void Server::handle(const Caller& caller, MetricsOp /*op*/) {
  engine_.stat_engine(reply_to<engine::EngineInfo>(
      caller, {}, [this, caller](const auto& info) { caller.send(metrics_event(metrics_text(info))); }));
}

void Server::handle(const Caller& caller, const SaveOp& op) {
  engine_.save(caller.session(op.session),
               reply_to<engine::SavedSnapshot>(
                   caller, op.session, [caller](const auto& saved) { caller.send(saved_event(saved)); }));
}

void Server::handle(const Caller& caller, const ForkOp& op) {
  engine_.fork(caller.session(op.session), op.as,
               reply_to<engine::SessionInfo>(caller, op.session, [caller](const auto& info) {
                 caller.send(added_event("forked", info));
               }));
}

void Server::handle(const Caller& caller, const RenameOp& op) {
  const engine::SessionId from = caller.session(op.session);
  engine_.rename(from, op.to,
                 reply_to<engine::SessionInfo>(caller, op.session, [this, caller, from](const auto& info) {
                   streams_.renamed(from, info.session);
                   caller.send(renamed_event(info, from.name));
                 }));
}

void Server::handle(const Caller& caller, const UndoOp& op) {
  engine_.undo(caller.session(op.session), op.tokens,
               reply_to<engine::SessionInfo>(caller, op.session, [this, caller](const auto& info) {
                 streams_.went_back(info.session);
                 caller.send(position_event("undone", info));
               }));
}

void Server::handle(const Caller& caller, const ExportOp& op) {
  caller.connection->begin_large_answer();
  auto reply = reply_to<engine::ExportedSession>(caller, op.session, [this, caller](auto exported) {
    asio::co_spawn(io_, send_file(caller, std::move(exported)), asio::detached);
  });
  engine_.export_session(caller.session(op.session), [this, caller, reply = std::move(reply)](auto result) {
    const bool refused = std::holds_alternative<engine::Error>(result);
    reply(std::move(result));
    if (refused) {
      asio::post(io_, [caller] { caller.connection->end_large_answer(); });
    }
  });
}

/// Sends the file in parts, no faster than the client takes them.
asio::awaitable<void> Server::send_file(Caller caller, engine::ExportedSession exported) {
  std::span<const std::byte> rest = exported.file;
  while (!rest.empty() && caller.connection->open()) {
    const std::span<const std::byte> part = rest.first(std::min(rest.size(), kChunkBytes));
    caller.send(chunk_event(exported.session.name, part));
    rest = rest.subspan(part.size());
    co_await caller.connection->drained();
  }
  caller.send(exported_event(exported));
  caller.connection->end_large_answer();
}

void Server::handle(const Caller& caller, const ImportOp& op) {
  const std::int64_t number = caller.connection->number();
  if (!imports_.add(number, op.part)) {
    caller.connection->end_request();
    return send_error(caller.connection, caller.id, "import_limit",
                      "more of exported sessions is under way than max_import_bytes allows (" +
                          std::to_string(settings_.max_import_bytes) + ")",
                      {.limit = "max_import_bytes", .retry_after_ms = kRetryWhenImportedMs});
  }
  if (op.more) {
    caller.connection->end_request();
    return caller.send(importing_event(imports_.size(number)));
  }
  engine_.import_session(caller.session(op.session), imports_.take(number),
                         reply_to<engine::SessionInfo>(caller, op.session, [caller](const auto& info) {
                           caller.send(added_event("imported", info));
                         }));
}

}  // namespace condensed::daemon
