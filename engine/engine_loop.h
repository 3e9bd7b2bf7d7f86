#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "engine/failpoints.h"
#include "engine/input_budget.h"
#include "engine/prompt_planner.h"
#include "engine/reading_pace.h"
#include "engine/session.h"
#include "engine/session_table.h"
#include "engine/transformer.h"
#include "engine/work_ledger.h"

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

  /// Takes the input out of the engine's budget until `reply` is called. False: there is too little left, and
  /// `reply` has got the error. Callable from any thread.
  template <typename T>
  bool count_input(const Input& input, Reply<T>& reply) {
    const std::size_t bytes = size_bytes(input);
    const std::shared_ptr<InputBudget::Share> share = input_budget_.take(bytes);
    if (!share) {
      reply(input_budget_spent(bytes));
      return false;
    }
    // Given back before the answer, so that a client that waits for it finds room.
    reply = [share, answered = std::move(reply)](std::variant<T, Error> result) {
      share->release();
      answered(std::move(result));
    };
    return true;
  }

  // Commands.
  void set_limits(const EngineOptions& options);
  void open(OpenRequest request, const Reply<SessionInfo>& reply);
  void append(const SessionId& id, Input input, const Reply<AppendResult>& reply);
  void generate(GenerateRequest request, std::shared_ptr<GenerationListener> listener,
                Clock::time_point arrival, const Reply<SessionInfo>& reply);
  void cancel(const SessionId& id, const Reply<SessionInfo>& reply);
  std::variant<SessionInfo, Error> stat(const SessionId& id);
  void stat_in_turn(const SessionId& id, const Reply<SessionInfo>& reply);
  EngineInfo stat_engine() const;
  std::vector<SessionInfo> list(std::optional<std::uint32_t> user) const;
  void close(const SessionId& id, const Reply<SessionInfo>& reply);
  void save(const SessionId& id, const Reply<SavedSnapshot>& reply);
  void fork(const SessionId& id, const std::string& as, const Reply<SessionInfo>& reply);
  void rename(const SessionId& id, const std::string& to, const Reply<SessionInfo>& reply);
  void undo(const SessionId& id, std::int64_t tokens, const Reply<SessionInfo>& reply);
  void export_session(const SessionId& id, const Reply<ExportedSession>& reply);
  void import_session(SessionId id, std::vector<std::byte> file, const Reply<SessionInfo>& reply);

 private:
  using Command = std::function<void(Loop&)>;
  using EntryPtr = SessionTable::EntryPtr;

  static void pass(Failpoint point, std::int64_t step);
  static Error shutting_down();
  static Error unknown_session(const SessionId& id);
  bool enqueue(Command command);
  void enqueue_always(Command command);
  void run();
  bool stopping();
  void run_commands(Clock::time_point until);
  bool beats() const { return options_.heartbeat_interval.count() > 0; }
  void beat();
  bool step();
  bool run_slices();
  void stop_for_room(const std::string& why);
  void recover(std::string what);
  void leave_device(const std::string& what);
  void drop_device();
  void set_cache_memory_aside();
  bool restart_device(std::string what);
  void remake_device(bool last);
  std::jthread beat_beside();
  bool wait_before_restart(std::chrono::milliseconds time);
  void give_up(const std::string& what);
  void choose_slices();
  StepReport chosen_rows() const;
  std::int64_t runners_evictions() const;
  void drain();
  void stop_generation(Session& session);
  void end_sessions();

  std::string free_name(std::uint32_t user);
  std::optional<Error> refuse(const Session* session, const Input& input) const;
  std::optional<Error> refuse(const Session& session, const GenerateRequest& request) const;
  std::optional<Error> refuse_generation() const;
  static std::size_t size_bytes(const Input& input);
  Error input_budget_spent(std::size_t bytes) const;
  std::optional<Error> refuse_new(const SessionId& id) const;
  std::optional<Error> refuse_window(const cache::StreamWindow& window) const;
  std::variant<EntryPtr, Error> find_or_create(OpenRequest request);
  Reply<AppendResult> saved_first(const EntryPtr& entry, const Reply<AppendResult>& reply);
  static bool at_rest_on_disk(const SessionEntry& entry);
  void add(const SessionId& id, SessionSnapshot snapshot, const Reply<SessionInfo>& reply);
  void imported(SessionId id, SessionSnapshot snapshot, const Reply<SessionInfo>& reply);

  /// Does something with a session as soon as it is in memory; settled: and no input of earlier requests
  /// waits.
  template <typename T>
  void with_session(const EntryPtr& entry, const Reply<T>& reply, std::function<void(Session&)> run,
                    bool settled = false) {
    table_.submit(entry, {.settled = settled, .run = std::move(run), .fail = [reply](const Error& error) {
                            reply(error);
                          }});
  }
  template <typename T>
  void with_settled(const EntryPtr& entry, const Reply<T>& reply, std::function<void(Session&)> run) {
    with_session(entry, reply, std::move(run), true);
  }

  std::shared_ptr<Model> model_;
  EngineOptions options_;
  InputBudget input_budget_;
  ReadingPace pace_;
  EngineObserver silent_;
  std::optional<Transformer> transformer_;  // absent while, and once, there is no device
  const cache::CacheShape cache_shape_;
  std::string backend_name_;
  std::size_t weight_bytes_ = 0;
  std::size_t wanted_cache_bytes_ = 0;    // options_.max_cache_bytes is what of it the backend has room for
  std::optional<PromptPlanner> planner_;  // once the loop knows how prompts may be read

  std::size_t next_turn_ = 0;  // among the resident sessions
  std::int64_t next_name_ = 1;
  std::mt19937_64 seeds_;

  std::vector<Slice> slices_;      // of the step under way
  std::vector<EntryPtr> runners_;  // their sessions
  std::int64_t n_waiting_ = 0;     // sessions that found no room in it
  std::int64_t steps_ = 0;
  std::size_t failures_ = 0;  // of the device, and attempts at restarting it, since a step succeeded
  std::int64_t step_sessions_ = 0;
  std::chrono::nanoseconds in_steps_{};
  std::int64_t tokens_read_ = 0;
  std::int64_t tokens_generated_ = 0;
  std::int64_t evictions_ = 0;
  Clock::time_point started_ = Clock::now();
  Clock::time_point next_beat_ = started_;

  std::mutex mutex_;
  std::condition_variable wakeup_;
  std::vector<Command> commands_;  // guarded by mutex_
  bool woken_ = false;             // guarded by mutex_
  bool stopping_ = false;          // guarded by mutex_
  bool ending_ = false;            // on the engine's thread: waits are for what is under way only
  std::mutex join_mutex_;
  WorkLedger ledger_{started_};
  SessionTable table_;  // after what its thread posts to
  std::thread thread_;
};

}  // namespace condensed::engine
