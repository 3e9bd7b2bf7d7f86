#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "engine/prompt_planner.h"
#include "engine/session.h"
#include "engine/transformer.h"

namespace condensed::engine {

/// The engine's thread: carries out commands between steps and runs one step after another while any session
/// has something to do. Everything but post(), wake() and shutdown() happens on that thread.
class Engine::Loop {
 public:
  Loop(std::shared_ptr<Model> model, const EngineOptions& options);
  ~Loop() { shutdown(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Queues `run`; after shutdown() has begun, `reply` gets the error instead, on the calling thread.
  template <typename T>
  void post(const Reply<T>& reply, std::function<void(Loop&)> run) {
    if (!enqueue(std::move(run))) {
      reply(shutting_down());
    }
  }
  void wake();
  void shutdown();

  // Commands.
  void open(OpenRequest request, const Reply<SessionInfo>& reply);
  void append(const std::string& name, Input input, const Reply<AppendResult>& reply);
  void generate(GenerateRequest request, std::shared_ptr<GenerationListener> listener,
                Clock::time_point arrival, const Reply<SessionInfo>& reply);
  std::variant<SessionInfo, Error> cancel(const std::string& name);
  std::variant<SessionInfo, Error> stat(const std::string& name);
  EngineInfo stat_engine() const;
  std::vector<SessionInfo> list() const;
  std::variant<SessionInfo, Error> close(const std::string& name);

 private:
  using Command = std::function<void(Loop&)>;

  static Error shutting_down();
  static Error unknown_session(const std::string& name);
  bool enqueue(Command command);
  void run();
  bool run_commands(bool may_wait);
  bool step();
  void choose_slices();
  Session* find(const std::string& name);
  std::string free_name();
  std::optional<Error> refuse(const Session* session, const Input& input) const;
  std::variant<Session*, Error> find_or_create(OpenRequest& request, bool& existed);

  std::shared_ptr<Model> model_;
  EngineOptions options_;
  Transformer transformer_;
  std::optional<PromptPlanner> planner_;  // once the loop knows how prompts may be read

  std::map<std::string, std::unique_ptr<Session>> sessions_;
  std::vector<Session*> turns_;  // all sessions, in the order of their turns
  std::size_t next_turn_ = 0;
  std::int64_t next_name_ = 1;
  std::mt19937_64 seeds_;

  std::vector<Slice> slices_;      // of the step under way
  std::vector<Session*> runners_;  // their sessions
  std::int64_t steps_ = 0;
  std::int64_t tokens_read_ = 0;
  std::int64_t tokens_generated_ = 0;
  std::int64_t evictions_ended_ = 0;  // of sessions closed since
  Clock::time_point started_ = Clock::now();

  std::mutex mutex_;
  std::condition_variable wakeup_;
  std::vector<Command> commands_;  // guarded by mutex_
  bool woken_ = false;             // guarded by mutex_
  bool stopping_ = false;          // guarded by mutex_
  std::mutex join_mutex_;
  std::thread thread_;
};

}  // namespace condensed::engine
