// What the engine's thread does for each request.

#include <algorithm>
#include <utility>

#include "engine/engine_loop.h"
#include "engine/input_error.h"

namespace condensed::engine {

Error Engine::Loop::shutting_down() {
  return {ErrorCode::shutting_down, "the daemon is stopping; connect again when it is back"};
}

Error Engine::Loop::unknown_session(const std::string& name) {
  return {ErrorCode::unknown_session, "no session is named '" + name + "'; open it first"};
}

Session* Engine::Loop::find(const std::string& name) {
  const auto found = sessions_.find(name);
  return found == sessions_.end() ? nullptr : found->second.get();
}

std::string Engine::Loop::free_name() {
  std::string name;
  do {
    name = "s" + std::to_string(next_name_++);
  } while (find(name) != nullptr);
  return name;
}

std::variant<Session*, Error> Engine::Loop::find_or_create(OpenRequest& request, bool& existed) {
  if (Session* session = find(request.session); session != nullptr) {
    const SessionInfo info = session->info();
    if (request.sinks.value_or(info.sinks) != info.sinks ||
        request.window.value_or(info.window) != info.window) {
      return Error{ErrorCode::session_exists, "session '" + info.session + "' is open with " +
                                                  std::to_string(info.sinks) + " sinks and a window of " +
                                                  std::to_string(info.window)};
    }
    existed = true;
    return session;
  }
  const cache::StreamWindow window{.sinks = request.sinks.value_or(options_.default_window.sinks),
                                   .window = request.window.value_or(options_.default_window.window)};
  if (window.sinks < 0 || window.window < 1 || window.sinks > options_.max_window ||
      window.window > options_.max_window - window.sinks) {
    return Error{ErrorCode::bad_request,
                 "sinks " + std::to_string(window.sinks) + " and window " + std::to_string(window.window) +
                     ": sinks must be at least 0, window at least 1, both together at most " +
                     std::to_string(options_.max_window) + " (max_window)"};
  }
  if (static_cast<std::int64_t>(sessions_.size()) >= options_.max_sessions) {
    return Error{
        ErrorCode::session_limit,
        std::to_string(sessions_.size()) + " sessions are open, as many as max_sessions allows; close one"};
  }
  if (request.session.empty()) {
    request.session = free_name();
  }
  auto session = std::make_unique<Session>(*model_, transformer_.cache_shape(), window, request);
  turns_.push_back(session.get());
  return sessions_.emplace(request.session, std::move(session)).first->second.get();
}

void Engine::Loop::open(OpenRequest request, const Reply<SessionInfo>& reply) {
  if (request.input) {  // an open that fails leaves nothing behind
    if (std::optional<Error> refused = refuse(find(request.session), *request.input)) {
      return reply(std::move(*refused));
    }
  }
  bool existed = false;
  const std::variant<Session*, Error> result = find_or_create(request, existed);
  if (const Error* error = std::get_if<Error>(&result)) {
    return reply(*error);
  }
  Session* session = std::get<Session*>(result);
  const auto answer = [session, existed, reply] {
    SessionInfo info = session->info();
    info.existed = existed;
    reply(info);
  };
  if (!request.input) {
    return answer();
  }
  session->append(std::move(*request.input), [answer, reply](std::variant<AppendResult, Error> read) {
    if (const Error* error = std::get_if<Error>(&read)) {
      return reply(*error);
    }
    answer();  // called by the session itself, so it is there
  });
}

/// Why a session, or one yet to be opened (null), cannot take the input.
std::optional<Error> Engine::Loop::refuse(const Session* session, const Input& input) const {
  std::size_t bytes = 0;
  if (const auto* text = std::get_if<std::string>(&input)) {
    bytes = text->size();
    if (!model_->tokenizer) {
      return Error{ErrorCode::bad_request,
                   "the model has no tokenizer.model: append `tokens` instead of `text`"};
    }
  } else {
    const auto& tokens = std::get<std::vector<std::int32_t>>(input);
    bytes = tokens.size() * sizeof(std::int32_t);
    const int vocab_size = model_->config.vocab_size;
    const auto bad = std::find_if(tokens.begin(), tokens.end(),
                                  [&](std::int32_t token) { return token < 0 || token >= vocab_size; });
    if (bad != tokens.end()) {
      return Error{ErrorCode::bad_request, "token " + std::to_string(*bad) + " at index " +
                                               std::to_string(bad - tokens.begin()) + ": ids are 0 to " +
                                               std::to_string(vocab_size - 1)};
    }
  }
  const std::size_t waiting = session == nullptr ? 0 : session->waiting_input_bytes();
  if (waiting + bytes > options_.max_waiting_input_bytes) {
    return Error{ErrorCode::append_limit, std::to_string(bytes) + " bytes of input, with " +
                                              std::to_string(waiting) +
                                              " that wait on the session, exceed max_waiting_input_bytes (" +
                                              std::to_string(options_.max_waiting_input_bytes) +
                                              "); send less, or wait for `appended`"};
  }
  return std::nullopt;
}

void Engine::Loop::append(const std::string& name, Input input, const Reply<AppendResult>& reply) {
  Session* session = find(name);
  if (session == nullptr) {
    return reply(unknown_session(name));
  }
  if (std::optional<Error> refused = refuse(session, input)) {
    return reply(std::move(*refused));
  }
  session->append(std::move(input), reply);
}

void Engine::Loop::generate(GenerateRequest request, std::shared_ptr<GenerationListener> listener,
                            Clock::time_point arrival, const Reply<SessionInfo>& reply) {
  Session* session = find(request.session);
  if (session == nullptr) {
    return reply(unknown_session(request.session));
  }
  if (session->generating()) {
    return reply(Error{ErrorCode::session_busy, "a generation is running on session '" + request.session +
                                                    "'; cancel it or wait for its `done`"});
  }
  if (session->empty()) {
    return reply(Error{ErrorCode::bad_request,
                       "session '" + request.session + "' has no tokens to go on from; append some first"});
  }
  if (!request.stop.empty() && !model_->tokenizer) {
    return reply(
        Error{ErrorCode::bad_request, "stop: the model has no tokenizer.model, so there is no text"});
  }
  try {
    session->start(std::move(request), std::move(listener), seeds_(), arrival);
  } catch (const InputError& error) {
    return reply(Error{ErrorCode::bad_request, error.what()});
  }
  reply(session->info());
}

std::variant<SessionInfo, Error> Engine::Loop::cancel(const std::string& name) {
  Session* session = find(name);
  if (session == nullptr) {
    return unknown_session(name);
  }
  if (!session->generating()) {
    return Error{ErrorCode::not_generating, "nothing is being generated on session '" + name + "'"};
  }
  session->finish(FinishReason::cancelled);
  return session->info();
}

std::variant<SessionInfo, Error> Engine::Loop::stat(const std::string& name) {
  Session* session = find(name);
  if (session == nullptr) {
    return unknown_session(name);
  }
  return session->info();
}

EngineInfo Engine::Loop::stat_engine() const {
  const ModelConfig& config = model_->config;
  EngineInfo info;
  info.model = model_->name;
  info.backend = model_->backend->name();
  info.n_layers = config.n_layers;
  info.n_owners = model_->plan.n_owners();
  info.vocab_size = config.vocab_size;
  info.weight_bytes = model_->weights.bytes();
  info.cache_dtype = options_.cache_dtype;
  info.cache_bytes_per_token = transformer_.cache_shape().bytes_per_token();
  info.sessions = static_cast<std::int64_t>(sessions_.size());
  info.max_sessions = options_.max_sessions;
  info.steps = steps_;
  info.tokens_read = tokens_read_;
  info.tokens_generated = tokens_generated_;
  info.evictions = evictions_ended_;
  for (const Session* session : turns_) {
    info.generating += session->generating() ? 1 : 0;
    info.cache_bytes += session->cache_bytes();
    info.evictions += session->evictions();
  }
  info.uptime_s = std::chrono::duration<double>(Clock::now() - started_).count();
  return info;
}

std::vector<SessionInfo> Engine::Loop::list() const {
  std::vector<SessionInfo> infos;
  infos.reserve(sessions_.size());
  for (const auto& [name, session] : sessions_) {
    infos.push_back(session->info());
  }
  return infos;
}

std::variant<SessionInfo, Error> Engine::Loop::close(const std::string& name) {
  const auto found = sessions_.find(name);
  if (found == sessions_.end()) {
    return unknown_session(name);
  }
  Session& session = *found->second;
  session.finish(FinishReason::closed);
  session.refuse_waiting({ErrorCode::session_closed, "session '" + name + "' was closed"});
  SessionInfo info = session.info();
  evictions_ended_ += session.evictions();
  turns_.erase(std::find(turns_.begin(), turns_.end(), &session));
  next_turn_ = 0;
  sessions_.erase(found);
  return info;
}

}  // namespace condensed::engine
