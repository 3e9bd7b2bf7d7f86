#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "engine/engine_loop.h"
#include "engine/input_error.h"

namespace condensed::engine {

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::bad_request:
      return "bad_request";
    case ErrorCode::unknown_session:
      return "unknown_session";
    case ErrorCode::session_exists:
      return "session_exists";
    case ErrorCode::session_busy:
      return "session_busy";
    case ErrorCode::session_limit:
      return "session_limit";
    case ErrorCode::generation_limit:
      return "generation_limit";
    case ErrorCode::append_limit:
      return "append_limit";
    case ErrorCode::not_generating:
      return "not_generating";
    case ErrorCode::nothing_to_resume:
      return "nothing_to_resume";
    case ErrorCode::undo_limit:
      return "undo_limit";
    case ErrorCode::memory_limit:
      return "memory_limit";
    case ErrorCode::no_state_dir:
      return "no_state_dir";
    case ErrorCode::snapshot_failed:
      return "snapshot_failed";
    case ErrorCode::snapshot_refused:
      return "snapshot_refused";
    case ErrorCode::session_closed:
      return "session_closed";
    case ErrorCode::device_failed:
      return "device_failed";
    case ErrorCode::shutting_down:
      return "shutting_down";
  }
  return "internal";
}

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::length:
      return "length";
    case FinishReason::stop:
      return "stop";
    case FinishReason::eos:
      return "eos";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::closed:
      return "closed";
    case FinishReason::shutdown:
      return "shutdown";
    case FinishReason::failed:
      return "failed";
  }
  return "?";
}

Engine::Engine(std::shared_ptr<Model> model, const EngineOptions& options)
    : loop_(std::make_unique<Loop>(std::move(model), options)) {}

Engine::~Engine() {
  loop_->shutdown();
}

void Engine::shutdown() {
  loop_->shutdown();
}

void Engine::wake() {
  loop_->wake();
}

void Engine::set_limits(const EngineOptions& options) {
  const Reply<bool> nobody = [](const auto&) {};
  loop_->post(nobody, [options](Loop& loop) { loop.set_limits(options); });
}

// Each request becomes a command: run on the engine's thread with the loop, or refused when it is too late.

void Engine::open(OpenRequest request, Reply<SessionInfo> reply) {
  if (request.input && !loop_->count_input(*request.input, reply)) {
    return;
  }
  loop_->post(reply, [request = std::move(request), reply](Loop& loop) mutable {
    loop.open(std::move(request), reply);
  });
}

void Engine::append(SessionId session, Input input, Reply<AppendResult> reply) {
  if (!loop_->count_input(input, reply)) {
    return;
  }
  loop_->post(reply, [session = std::move(session), input = std::move(input), reply](Loop& loop) mutable {
    loop.append(session, std::move(input), reply);
  });
}

void Engine::generate(GenerateRequest request, std::shared_ptr<GenerationListener> listener,
                      Reply<SessionInfo> reply) {
  loop_->post(reply, [request = std::move(request), listener = std::move(listener), reply,
                      arrival = Clock::now()](Loop& loop) mutable {
    loop.generate(std::move(request), std::move(listener), arrival, reply);
  });
}

void Engine::cancel(SessionId session, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), reply](Loop& loop) { loop.cancel(session, reply); });
}

void Engine::stat(SessionId session, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), reply](Loop& loop) { reply(loop.stat(session)); });
}

void Engine::stat_in_turn(SessionId session, Reply<SessionInfo> reply) {
  loop_->post(reply,
              [session = std::move(session), reply](Loop& loop) { loop.stat_in_turn(session, reply); });
}

void Engine::stat_engine(Reply<EngineInfo> reply) {
  loop_->post(reply, [reply](Loop& loop) { reply(loop.stat_engine()); });
}

void Engine::list(std::optional<std::uint32_t> user, Reply<std::vector<SessionInfo>> reply) {
  loop_->post(reply, [user, reply](Loop& loop) { reply(loop.list(user)); });
}

void Engine::close(SessionId session, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), reply](Loop& loop) { loop.close(session, reply); });
}

void Engine::save(SessionId session, Reply<SavedSnapshot> reply) {
  loop_->post(reply, [session = std::move(session), reply](Loop& loop) { loop.save(session, reply); });
}

void Engine::fork(SessionId session, std::string as, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), as = std::move(as), reply](Loop& loop) {
    loop.fork(session, as, reply);
  });
}

void Engine::rename(SessionId session, std::string to, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), to = std::move(to), reply](Loop& loop) {
    loop.rename(session, to, reply);
  });
}

void Engine::undo(SessionId session, std::int64_t tokens, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), tokens, reply](Loop& loop) {
    loop.undo(session, tokens, reply);
  });
}

void Engine::export_session(SessionId session, Reply<ExportedSession> reply) {
  loop_->post(reply,
              [session = std::move(session), reply](Loop& loop) { loop.export_session(session, reply); });
}

void Engine::import_session(SessionId session, std::vector<std::byte> file, Reply<SessionInfo> reply) {
  loop_->post(reply, [session = std::move(session), file = std::move(file), reply](Loop& loop) mutable {
    loop.import_session(session, std::move(file), reply);
  });
}

}  // namespace condensed::engine
