#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cache/condensed_cache.h"
#include "engine/engine_observer.h"
#include "engine/model.h"
#include "engine/prompt_options.h"
#include "engine/sampling.h"
#include "engine/session_id.h"
#include "engine/snapshot_policy.h"
#include "engine/step_account.h"

namespace condensed::engine {

enum class ErrorCode : std::uint8_t {
  bad_request,  // an option out of range, a token id outside the vocabulary
  unknown_session,
  session_exists,  // open: the name is taken, with other settings
  session_busy,    // generate: a generation is running
  session_limit,
  generation_limit,   // as many generations run as may
  append_limit,       // more input waits than the session, or the engine, may hold
  not_generating,     // cancel: nothing to cancel
  nothing_to_resume,  // generate with `resume`: no generation was interrupted
  undo_limit,         // the cache no longer holds what would have to become the newest token
  memory_limit,       // no memory for another session, and none can be put to sleep
  no_state_dir,       // there is no state folder
  snapshot_failed,    // the state folder cannot be written or read
  snapshot_refused,   // damaged, or of another model
  session_closed,     // the session was closed while the request waited
  device_failed,      // the device failed under the request
  shutting_down,
};
std::string_view name_of(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::bad_request;
  std::string message;
  std::string_view limit = {};  // the setting that was reached, if any; a literal
  std::optional<std::int64_t> retry_after_ms = std::nullopt;  // when trying again may help; absent: never
};

/// Receives the answer to one request, exactly once, on the engine's thread. Must not block or throw.
template <typename T>
using Reply = std::function<void(std::variant<T, Error>)>;

struct EngineOptions {
  cache::StreamWindow default_window{4, 1020};
  std::int64_t max_window = 65536;            // sinks + window a session may ask for
  std::int64_t max_sessions = 1024;           // those asleep included
  std::int64_t max_resident_sessions = 1024;  // beyond: the least recently used one goes to sleep
  /// Of all resident sessions; less where the backend has room for less, and again all of it once it has.
  std::size_t max_cache_bytes = std::numeric_limits<std::size_t>::max();
  std::size_t max_waiting_input_bytes = 8U << 20;          // per session, text and tokens not yet read
  std::size_t max_total_waiting_input_bytes = 256U << 20;  // input of all unanswered requests
  std::int64_t max_generating = 1024;                      // generations at once
  std::int64_t max_batch_rows = 256;                       // tokens in one step, all sessions together
  PromptOptions prompt;
  kernels::DType cache_dtype = kernels::DType::f32;
  std::filesystem::path state_dir;  // where sessions are kept; empty: nowhere, and none ever sleeps
  SnapshotPolicy snapshots;
  std::chrono::milliseconds hibernate_after{0};  // rest after which a session goes to sleep; 0: never
  std::chrono::milliseconds drain{0};            // shutdown(): what may end by itself has so long
  EngineObserver* observer = nullptr;            // must outlive the engine; null: nobody is told
  /// Told what an administrator should know, in one line. Called on the engine's thread, and by the
  /// constructor.
  std::function<void(const std::string&)> warn = [](const std::string&) {};
  /// Makes a backend in the place of one that failed (kernels::DeviceError) and is gone. last: no further
  /// attempt follows. Called on the engine's thread; when it throws, it is tried again. Empty: the exception
  /// of the failure ends the process.
  std::function<std::unique_ptr<kernels::Backend>(bool last)> remake_backend;
  /// Most host memory for copies of sessions while the device is restarted, those used latest first.
  std::size_t max_rescued_bytes = std::numeric_limits<std::size_t>::max();
  /// How long the engine waits before each of its attempts at that; a step that succeeds makes the next
  /// failure the first again. A driver that resets a device takes a second or two.
  std::vector<std::chrono::milliseconds> restart_after{
      std::chrono::milliseconds(0), std::chrono::milliseconds(1000), std::chrono::milliseconds(2000),
      std::chrono::milliseconds(4000)};
  /// The last attempt failed, too: the engine has ended as shutdown() does it, and says why. Called once, on
  /// its thread.
  std::function<void(const std::string&)> given_up = [](const std::string&) {};
  /// Told of sessions whose latest tokens were lost with the device's memory. On the engine's thread.
  std::function<void(const SessionId&)> went_back = [](const SessionId&) {};
  /// A sign of life, called on the engine's thread between steps and while it has nothing to do, once per
  /// interval as far as steps are shorter; while the device is restarted, on another. 0: never, and an idle
  /// engine is not woken. Must not block or throw.
  std::function<void()> heartbeat;
  std::chrono::milliseconds heartbeat_interval{0};
};

/// Text, or tokens.
using Input = std::variant<std::string, std::vector<std::int32_t>>;

struct OpenRequest {
  SessionId session;  // without a name: the engine picks one
  std::optional<std::int64_t> sinks;
  std::optional<std::int64_t> window;
  bool bos = true;             // whether a new stream starts with the model's beginning-of-sequence token
  std::optional<Input> input;  // read before the answer comes, as append() would
};

struct SessionInfo {
  SessionId session;
  bool existed = false;  // open: the session was there already
  bool asleep = false;   // on disk only
  bool generating = false;
  bool interrupted = false;  // a generation can be resumed
  std::int64_t sinks = 0;
  std::int64_t window = 0;
  std::int64_t position = 0;  // tokens in the stream so far
  std::int64_t cached = 0;    // tokens the cache holds
  std::int64_t evictions = 0;
  std::int64_t waiting_tokens = 0;             // input not yet read, as far as it has been tokenised
  std::int64_t waiting_bytes = 0;              // input text not yet tokenised
  std::size_t cache_bytes = 0;                 // allocated now
  std::size_t cache_bytes_max = 0;             // when the window is full: never more
  std::optional<std::int64_t> saved_position;  // of the newest snapshot on disk
  std::size_t snapshot_bytes = 0;              // its size
  std::chrono::nanoseconds idle{};             // since the session was last used
};

struct EngineInfo {
  std::string model;  // folder name of the checkpoint
  std::string backend;
  std::int64_t n_layers = 0;
  std::int64_t n_owners = 0;  // layers that own a cache
  std::int64_t vocab_size = 0;
  std::size_t weight_bytes = 0;
  kernels::DType cache_dtype = kernels::DType::f32;
  std::size_t cache_bytes_per_token = 0;
  std::int64_t sessions = 0;  // those asleep included
  std::int64_t asleep = 0;
  std::int64_t resident = 0;  // in memory, those generating included
  std::int64_t max_sessions = 0;
  std::int64_t max_resident_sessions = 0;
  std::size_t max_cache_bytes = 0;
  std::int64_t generating = 0;     // sessions with a generation under way
  std::int64_t waiting = 0;        // sessions that had tokens to run but found no room in the latest step
  std::size_t cache_bytes = 0;     // all sessions, allocated now
  std::int64_t steps = 0;          // since start
  std::int64_t step_sessions = 0;  // that took part in steps, summed over these
  std::chrono::nanoseconds in_steps{};  // duration of all steps
  std::int64_t tokens_read = 0;         // prompt tokens since start
  std::int64_t tokens_generated = 0;    // since start
  std::int64_t evictions = 0;
  double uptime_s = 0;
};

struct AppendResult {
  SessionId session;
  std::int64_t tokens = 0;
  std::int64_t position = 0;  // tokens in the stream so far, these included
};

/// A snapshot that will be found after a crash.
struct SavedSnapshot {
  SessionId session;
  std::int64_t position = 0;
  std::size_t bytes = 0;  // of the file
};

/// A session as a file that import_session() takes.
struct ExportedSession {
  SessionId session;
  std::int64_t position = 0;
  std::vector<std::byte> file;
};

struct GenerateRequest {
  SessionId session;
  std::optional<std::chrono::nanoseconds> account_above;  // tokens slower than that come with their account
  bool resume = false;  // go on with the generation that was interrupted; what follows is not looked at
  std::optional<std::int64_t> max_tokens;  // absent: endless, past every end-of-sequence token
  bool ignore_eos = false;
  SamplingOptions sampling;
  std::vector<std::string> stop;  // ends before the first of these; not part of the text
  int n_logprobs = -1;            // -1: none; 0: the token's own; n: and the n likeliest
};

struct GeneratedToken {
  std::int32_t token = 0;
  std::int64_t position = 0;  // in the stream, from 0
  std::string text;           // what can be shown now: valid UTF-8, empty while a character is incomplete
  std::optional<float> logprob;
  std::vector<std::pair<TokenLogprob, std::string>> top;  // likeliest first, each with its text
  std::optional<StepAccount> account;                     // of a slow one, if asked for
};

enum class FinishReason : std::uint8_t { length, stop, eos, cancelled, closed, shutdown, failed };
std::string_view name_of(FinishReason reason);

struct GenerationSummary {
  FinishReason reason = FinishReason::length;
  std::string text;                // held back so far (the possible beginning of a stop string), due now
  std::string stop;                // the stop string met
  std::int64_t prompt_tokens = 0;  // read since the generation before
  std::int64_t completion_tokens = 0;
  std::int64_t position = 0;                       // tokens in the stream so far
  bool resumable = false;                          // interrupted, and the session was kept
  std::string message;                             // failed: what happened
  std::chrono::nanoseconds time_to_first_token{};  // from the request's arrival
  std::chrono::nanoseconds total{};                // from the request's arrival
};

/// Receives one generation. on_token and on_done are called on the engine's thread and must neither block nor
/// throw; on_done comes last, exactly once, whenever generate() was answered with success.
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  /// Whether another token may come now. While false the session rests; call Engine::wake() when it changes.
  virtual bool accepts_token() const = 0;
  virtual void on_token(const GeneratedToken& token) = 0;
  virtual void on_done(const GenerationSummary& summary) = 0;
};

/// Runs one model on many streams: a thread of its own owns the model and every session, and takes requests
/// through a queue. Requests to one session are carried out in order. Every method may be called from any
/// thread and returns at once.
class Engine {
 public:
  Engine(std::shared_ptr<Model> model, const EngineOptions& options);
  /// shutdown().
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Opens a session, or finds the one of that name.
  void open(OpenRequest request, Reply<SessionInfo> reply);

  /// Answered once the input is part of the stream. While a generation runs, the input joins the stream after
  /// the token in progress and the generation goes on from there.
  void append(SessionId session, Input input, Reply<AppendResult> reply);

  /// Answered at once (with the session's state); the tokens go to the listener.
  void generate(GenerateRequest request, std::shared_ptr<GenerationListener> listener,
                Reply<SessionInfo> reply);

  /// Ends the running generation after the token in progress; its on_done precedes the answer.
  void cancel(SessionId session, Reply<SessionInfo> reply);
  void stat(SessionId session, Reply<SessionInfo> reply);
  /// The same after every request to the session that came before, without waking it for this one.
  void stat_in_turn(SessionId session, Reply<SessionInfo> reply);
  void stat_engine(Reply<EngineInfo> reply);
  /// user: whose; nothing: everybody's.
  void list(std::optional<std::uint32_t> user, Reply<std::vector<SessionInfo>> reply);

  /// Answered with the session's last state. Ends its generation (FinishReason::closed) first, and deletes
  /// its snapshot.
  void close(SessionId session, Reply<SessionInfo> reply);

  /// Answered once the session, with all input that came before, is safe on disk.
  void save(SessionId session, Reply<SavedSnapshot> reply);
  /// Another session `as` of the same user in the same state; a running generation is interrupted there.
  void fork(SessionId session, std::string as, Reply<SessionInfo> reply);
  void rename(SessionId session, std::string to, Reply<SessionInfo> reply);
  /// Takes the latest tokens out of the stream.
  void undo(SessionId session, std::int64_t tokens, Reply<SessionInfo> reply);
  void export_session(SessionId session, Reply<ExportedSession> reply);
  /// Opens `session` in the state of an exported one.
  void import_session(SessionId session, std::vector<std::byte> file, Reply<SessionInfo> reply);

  /// Puts the limits, the snapshot policy and the times of `options` into force; the rest of it, and
  /// max_total_waiting_input_bytes, stay as they were.
  void set_limits(const EngineOptions& options);

  /// A listener accepts tokens again.
  void wake();

  /// Takes no more requests. Input that waits and generations that end by themselves get `drain` to do so;
  /// then what still runs is interrupted (FinishReason::shutdown), and with a state folder every session is
  /// saved. Returns when every listener and reply has been called.
  void shutdown();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace condensed::engine
