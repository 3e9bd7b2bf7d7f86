// What the engine's thread does for each request.

#include <algorithm>
#include <new>
#include <utility>

#include "engine/engine_loop.h"
#include "engine/input_error.h"
#include "kernels/device_error.h"

namespace condensed::engine {

namespace {
// What to wait where only clients can make room: nothing tells when they will.
constexpr std::int64_t kRetryWhenClientsActMs = 1000;
}  // namespace

Error Engine::Loop::shutting_down() {
  return {ErrorCode::shutting_down, "the daemon is stopping; connect again when it is back"};
}

Error Engine::Loop::unknown_session(const SessionId& id) {
  return {ErrorCode::unknown_session, "no session is named '" + id.name + "'; open it first"};
}

void Engine::Loop::set_limits(const EngineOptions& options) {
  options_.max_window = options.max_window;
  options_.max_sessions = options.max_sessions;
  options_.max_resident_sessions = options.max_resident_sessions;
  options_.max_waiting_input_bytes = options.max_waiting_input_bytes;
  options_.max_generating = options.max_generating;
  options_.snapshots = options.snapshots;
  options_.hibernate_after = options.hibernate_after;
  options_.drain = options.drain;
  wanted_cache_bytes_ = options.max_cache_bytes;
  try {
    if (model_->backend) {  // else the engine ends
      set_cache_memory_aside();
    }
  } catch (const kernels::DeviceError& error) {
    table_.device_failed(error.what());
  } catch (const std::bad_alloc& error) {
    options_.warn("max_cache_bytes stays " + std::to_string(options_.max_cache_bytes) + ": " + error.what());
  }
  table_.limits_changed();
}

std::string Engine::Loop::free_name(std::uint32_t user) {
  std::string name;
  do {
    name = "s" + std::to_string(next_name_++);
  } while (table_.find({user, name}) != nullptr);
  return name;
}

/// Why no session of this name can be added.
std::optional<Error> Engine::Loop::refuse_new(const SessionId& id) const {
  if (table_.find(id) != nullptr) {
    return Error{ErrorCode::session_exists, "there is a session '" + id.name + "' already"};
  }
  if (static_cast<std::int64_t>(table_.all().size()) >= options_.max_sessions) {
    return Error{.code = ErrorCode::session_limit,
                 .message = std::to_string(table_.all().size()) +
                            " sessions exist, as many as max_sessions allows; close one",
                 .limit = "max_sessions",
                 .retry_after_ms = kRetryWhenClientsActMs};
  }
  return std::nullopt;
}

/// Why no session can have this window.
std::optional<Error> Engine::Loop::refuse_window(const cache::StreamWindow& window) const {
  if (window.sinks < 0 || window.window < 1 || window.sinks > options_.max_window ||
      window.window > options_.max_window - window.sinks) {
    return Error{ErrorCode::bad_request,
                 "sinks " + std::to_string(window.sinks) + " and window " + std::to_string(window.window) +
                     ": sinks must be at least 0, window at least 1, both together at most " +
                     std::to_string(options_.max_window) + " (max_window)",
                 "max_window"};
  }
  const std::size_t bytes = cache::CondensedCache::bytes_when_full(cache_shape_, window);
  if (bytes > options_.max_cache_bytes) {
    return Error{.code = ErrorCode::memory_limit,
                 .message = "a session of " + std::to_string(window.sinks) + " sinks and a window of " +
                            std::to_string(window.window) + " takes " + std::to_string(bytes) +
                            " bytes, more than max_cache_bytes (" + std::to_string(options_.max_cache_bytes) +
                            ")",
                 .limit = "max_cache_bytes"};
  }
  return std::nullopt;
}

std::variant<Engine::Loop::EntryPtr, Error> Engine::Loop::find_or_create(OpenRequest request) {
  if (const EntryPtr entry = table_.find(request.session)) {
    const cache::StreamWindow& window = entry->window;
    if (request.sinks.value_or(window.sinks) != window.sinks ||
        request.window.value_or(window.window) != window.window) {
      return Error{ErrorCode::session_exists, "session '" + request.session.name + "' is open with " +
                                                  std::to_string(window.sinks) + " sinks and a window of " +
                                                  std::to_string(window.window)};
    }
    return entry;
  }
  const cache::StreamWindow window{.sinks = request.sinks.value_or(options_.default_window.sinks),
                                   .window = request.window.value_or(options_.default_window.window)};
  if (std::optional<Error> refused = refuse_window(window)) {
    return *std::move(refused);
  }
  if (std::optional<Error> refused = refuse_new(request.session)) {
    return *std::move(refused);
  }
  if (request.session.name.empty()) {
    request.session.name = free_name(request.session.user);
  }
  const SessionId id = request.session;
  request.input.reset();  // appended once the session is there
  return table_.create(id, window, std::move(request));
}

void Engine::Loop::open(OpenRequest request, const Reply<SessionInfo>& reply) {
  const EntryPtr known = table_.find(request.session);
  if (request.input) {  // an open that fails leaves nothing behind
    if (std::optional<Error> refused = refuse(known ? known->session.get() : nullptr, *request.input)) {
      return reply(std::move(*refused));
    }
  }
  std::optional<Input> input = request.input;
  const std::variant<EntryPtr, Error> result = find_or_create(std::move(request));
  if (const Error* error = std::get_if<Error>(&result)) {
    return reply(*error);
  }
  const EntryPtr entry = std::get<EntryPtr>(result);
  const auto answer = [this, entry, existed = known != nullptr, reply] {
    SessionInfo info = table_.info(*entry);
    info.existed = existed;
    reply(info);
  };
  if (!input) {
    return with_session(entry, reply, [answer](Session&) { answer(); });
  }
  append(entry->id, *std::move(input), [answer, reply](std::variant<AppendResult, Error> read) {
    if (const Error* error = std::get_if<Error>(&read)) {
      return reply(*error);
    }
    answer();
  });
}

/// Why a session, or one yet to be opened (null), cannot take the input.
std::optional<Error> Engine::Loop::refuse(const Session* session, const Input& input) const {
  if (std::holds_alternative<std::string>(input)) {
    if (!model_->tokenizer) {
      return Error{ErrorCode::bad_request,
                   "the model has no tokenizer.model: append `tokens` instead of `text`"};
    }
  } else {
    const auto& tokens = std::get<std::vector<std::int32_t>>(input);
    const int vocab_size = model_->config.vocab_size;
    const auto bad = std::find_if(tokens.begin(), tokens.end(),
                                  [&](std::int32_t token) { return token < 0 || token >= vocab_size; });
    if (bad != tokens.end()) {
      return Error{ErrorCode::bad_request, "token " + std::to_string(*bad) + " at index " +
                                               std::to_string(bad - tokens.begin()) + ": ids are 0 to " +
                                               std::to_string(vocab_size - 1)};
    }
  }
  const std::size_t bytes = size_bytes(input);
  const std::size_t most = options_.max_waiting_input_bytes;
  const std::size_t waiting = session == nullptr ? 0 : session->waiting_input_bytes();
  if (waiting + bytes > most) {
    Error error{ErrorCode::append_limit,
                std::to_string(bytes) + " bytes of input, with " + std::to_string(waiting) +
                    " that wait on the session, exceed max_waiting_input_bytes (" + std::to_string(most) +
                    "); send less, or wait for `appended`",
                "max_waiting_input_bytes"};
    if (bytes <= most) {
      error.retry_after_ms = pace_.session_reads_ms(waiting + bytes - most);
    }
    return error;
  }
  return std::nullopt;
}

std::size_t Engine::Loop::size_bytes(const Input& input) {
  const auto* text = std::get_if<std::string>(&input);
  return text != nullptr ? text->size()
                         : std::get<std::vector<std::int32_t>>(input).size() * sizeof(std::int32_t);
}

Error Engine::Loop::input_budget_spent(std::size_t bytes) const {
  const std::size_t most = input_budget_.limit_bytes();
  const std::size_t used = input_budget_.used_bytes();
  Error error{ErrorCode::append_limit,
              std::to_string(bytes) + " bytes of input, with " + std::to_string(used) +
                  " that wait on all sessions, exceed max_total_waiting_input_bytes (" +
                  std::to_string(most) + "); try again when some of it has been read",
              "max_total_waiting_input_bytes"};
  if (bytes <= most) {
    error.retry_after_ms = pace_.all_read_ms(used + bytes > most ? used + bytes - most : 0);
  }
  return error;
}

void Engine::Loop::append(const SessionId& id, Input input, const Reply<AppendResult>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  with_session(entry, reply, [this, entry, reply, input = std::move(input)](Session& session) mutable {
    if (std::optional<Error> refused = refuse(&session, input)) {
      return reply(std::move(*refused));
    }
    session.append(std::move(input),
                   options_.snapshots.on_append && table_.keeps_files() ? saved_first(entry, reply) : reply);
  });
}

/// Answers an append when the session is on disk.
Reply<AppendResult> Engine::Loop::saved_first(const EntryPtr& entry, const Reply<AppendResult>& reply) {
  return [this, entry, reply](std::variant<AppendResult, Error> read) {
    if (std::holds_alternative<Error>(read)) {
      return reply(std::move(read));
    }
    table_.save(entry, [reply, read = std::move(read)](const std::variant<SavedSnapshot, Error>& saved) {
      if (const Error* error = std::get_if<Error>(&saved)) {
        Error failed = *error;
        failed.message = "the input is part of the stream, but not on disk: " + failed.message;
        return reply(std::move(failed));
      }
      reply(read);
    });
  };
}

void Engine::Loop::generate(GenerateRequest request, std::shared_ptr<GenerationListener> listener,
                            Clock::time_point arrival, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(request.session);
  if (!entry) {
    return reply(unknown_session(request.session));
  }
  std::optional<TokenAccountant> accountant;
  if (request.account_above) {
    accountant.emplace(ledger_, *request.account_above, arrival, Clock::now());
  }
  const bool in_memory = entry->where == SessionEntry::Where::resident;
  with_session(entry, reply,
               [this, entry, request = std::move(request), listener = std::move(listener), arrival,
                accountant, in_memory, reply](Session& session) mutable {
                 if (accountant) {
                   accountant->started(Clock::now(), !in_memory);
                 }
                 if (std::optional<Error> refused = refuse(session, request)) {
                   return reply(std::move(*refused));
                 }
                 try {
                   session.start(std::move(request), std::move(listener), seeds_(), arrival, accountant);
                 } catch (const InputError& error) {
                   return reply(Error{ErrorCode::bad_request, error.what()});
                 }
                 reply(table_.info(*entry));
               });
}

/// Why a session cannot generate now.
std::optional<Error> Engine::Loop::refuse(const Session& session, const GenerateRequest& request) const {
  const std::string& name = session.id().name;
  if (session.generating()) {
    return Error{ErrorCode::session_busy,
                 "a generation is running on session '" + name + "'; cancel it or wait for its `done`"};
  }
  if (session.empty()) {
    return Error{ErrorCode::bad_request,
                 "session '" + name + "' has no tokens to go on from; append some first"};
  }
  if (request.resume && !session.interrupted()) {
    return Error{ErrorCode::nothing_to_resume, "no generation of session '" + name + "' was interrupted"};
  }
  if (!request.stop.empty() && !model_->tokenizer) {
    return Error{ErrorCode::bad_request, "stop: the model has no tokenizer.model, so there is no text"};
  }
  return refuse_generation();
}

/// Why no further generation may begin. The wait is that for the bounded one with the fewest tokens left.
std::optional<Error> Engine::Loop::refuse_generation() const {
  std::int64_t n_generating = 0;
  std::optional<std::int64_t> fewest_left;
  for (const EntryPtr& entry : table_.residents()) {
    n_generating += entry->session->generating() ? 1 : 0;
    if (const auto left = entry->session->tokens_left()) {
      fewest_left = std::min(*left, fewest_left.value_or(*left));
    }
  }
  if (n_generating < options_.max_generating) {
    return std::nullopt;
  }
  return Error{ErrorCode::generation_limit,
               std::to_string(n_generating) +
                   " generations are running, as many as max_generating allows; wait until one ends",
               "max_generating", fewest_left ? pace_.steps_ms(*fewest_left) : kRetryWhenClientsActMs};
}

void Engine::Loop::cancel(const SessionId& id, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  const auto nothing_runs = [id] {
    return Error{ErrorCode::not_generating, "nothing is being generated on session '" + id.name + "'"};
  };
  if (at_rest_on_disk(*entry)) {
    return reply(nothing_runs());
  }
  with_session(entry, reply, [this, entry, reply, nothing_runs](Session& session) {
    if (!session.generating()) {
      return reply(nothing_runs());
    }
    session.finish(FinishReason::cancelled);
    reply(table_.info(*entry));
  });
}

std::variant<SessionInfo, Error> Engine::Loop::stat(const SessionId& id) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return unknown_session(id);
  }
  return table_.info(*entry);
}

void Engine::Loop::stat_in_turn(const SessionId& id, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  if (entry->operations.empty()) {
    return reply(table_.info(*entry));
  }
  // What came before may have failed: this does not.
  const auto answer = [this, entry, reply] { reply(table_.info(*entry)); };
  table_.submit(entry,
                {.run = [answer](Session&) { answer(); }, .fail = [answer](const Error&) { answer(); }});
}

EngineInfo Engine::Loop::stat_engine() const {
  const ModelConfig& config = model_->config;
  EngineInfo info;
  info.model = model_->name;
  info.backend = backend_name_;
  info.n_layers = config.n_layers;
  info.n_owners = model_->plan.n_owners();
  info.vocab_size = config.vocab_size;
  info.weight_bytes = weight_bytes_;
  info.cache_dtype = options_.cache_dtype;
  info.cache_bytes_per_token = cache_shape_.bytes_per_token();
  info.sessions = static_cast<std::int64_t>(table_.all().size());
  info.asleep = table_.n_asleep();
  info.resident = static_cast<std::int64_t>(table_.residents().size());
  info.max_sessions = options_.max_sessions;
  info.max_resident_sessions = options_.max_resident_sessions;
  info.max_cache_bytes = options_.max_cache_bytes;
  info.waiting = n_waiting_;
  info.steps = steps_;
  info.step_sessions = step_sessions_;
  info.in_steps = in_steps_;
  info.tokens_read = tokens_read_;
  info.tokens_generated = tokens_generated_;
  info.evictions = evictions_;
  for (const EntryPtr& entry : table_.residents()) {
    info.generating += entry->session->generating() ? 1 : 0;
    info.cache_bytes += entry->session->cache_bytes();
  }
  info.uptime_s = std::chrono::duration<double>(Clock::now() - started_).count();
  return info;
}

std::vector<SessionInfo> Engine::Loop::list(std::optional<std::uint32_t> user) const {
  std::vector<SessionInfo> infos;
  for (const auto& [id, entry] : table_.all()) {
    if (id == entry->id && id.user == user.value_or(id.user)) {
      infos.push_back(table_.info(*entry));
    }
  }
  return infos;
}

void Engine::Loop::close(const SessionId& id, const Reply<SessionInfo>& reply) {
  const EntryPtr entry = table_.find(id);
  if (!entry) {
    return reply(unknown_session(id));
  }
  const SessionInfo info = table_.info(*entry);
  table_.close(entry,
               [info, reply](const std::optional<Error>& error) { error ? reply(*error) : reply(info); });
}

}  // namespace condensed::engine
