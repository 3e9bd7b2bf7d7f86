#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "clients/bench/recorder.h"
#include "clients/cpp/async_client.h"

namespace condensed::bench {

/// What every scenario is run with.
struct RunOptions {
  std::string socket_path;
  std::string user;                                  // whose sessions; empty: one's own
  std::optional<std::chrono::nanoseconds> duration;  // of the measured part; absent: the scenario ends it
  std::chrono::nanoseconds warmup_duration{0};
  std::uint64_t seed = 0;
  Slo slo;
  std::chrono::nanoseconds stall_threshold{std::chrono::milliseconds(20)};
};

/// How a generation ended.
struct Generated {
  std::int64_t tokens = 0;
  std::string reason;        // of `done`; "failed" if it was refused, "not begun" if the run was to stop
  boost::json::object done;  // empty if there was none
  Clock::time_point ended;

  bool to_its_end() const { return reason == "length" || reason == "stop" || reason == "eos"; }
};

/// A run under way: what a scenario works with. Everything happens on the thread that runs the io_context.
class Run {
 public:
  using ClientPtr = std::shared_ptr<client::AsyncClient>;
  using Task = std::function<boost::asio::awaitable<void>()>;
  /// Told of every token but a generation's first when it came, and the one before.
  using OnGap = std::function<void(Clock::time_point previous, Clock::time_point arrived)>;

  Run(boost::asio::io_context& io, RunOptions options);
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  boost::asio::io_context& io() { return io_; }
  const RunOptions& options() const { return options_; }
  Recorder& recorder() { return recorder_; }

  /// One more connection. Throws ConnectionLost.
  ClientPtr connect();
  /// The run's own name for a session, unlike those of other runs.
  std::string session_name(const std::string& suffix) const { return prefix_ + suffix; }
  /// Opens a session of the run, which is closed when the run ends. fields: those of `open` beside its name
  /// (sinks, window, text, ...). Throws RequestFailed, and std::runtime_error if the session was there
  /// before.
  boost::asio::awaitable<void> open(const ClientPtr& client, std::string session, boost::json::object fields);
  /// For whoever opens without open(). Throws std::runtime_error if the answer says that the session was
  /// there.
  void leave_alone_if_there(const std::string& session, const boost::json::object& opened);
  /// A session that came to be in another way (a fork) is the run's, too.
  void adopt(const std::string& session) { sessions_.insert(session); }
  /// It is closed already.
  void forget(const std::string& session) { sessions_.erase(session); }

  /// Runs one generation and records it. options: fields of `generate` beside the session. due: when an open
  /// loop wanted it sent; what is counted from there on includes waiting. A refusal is recorded and returned,
  /// not thrown. Nothing is recorded once *refused is set: of a generation whose input the daemon did not
  /// take. Throws ConnectionLost.
  boost::asio::awaitable<Generated> generate(const ClientPtr& client, std::string session,
                                             boost::json::object options,
                                             std::optional<Clock::time_point> due = std::nullopt,
                                             OnGap on_gap = nullptr, const bool* refused = nullptr);
  /// Sends a request; records what was refused and returns nothing then. Throws ConnectionLost.
  boost::asio::awaitable<std::optional<client::AsyncClient::Answer>> try_call(const ClientPtr& client,
                                                                              boost::json::object request,
                                                                              bool* refused = nullptr);

  /// Runs all at once and returns when all have ended. Then throws what the first one threw.
  boost::asio::awaitable<void> together(std::vector<Task> tasks);
  /// Returns early when the run is to stop. Returns whether it is not.
  boost::asio::awaitable<bool> sleep_until(Clock::time_point when);

  /// The measured part begins now; with a duration, stop() comes when it is over.
  boost::asio::awaitable<void> begin_measuring();
  /// Ends the measured part, the generations under way and all sleeps. Any time, any number of times.
  void stop();
  bool stopping() const { return stopping_; }
  /// Ends the generations under way and not the run: of a warm-up.
  void cancel_generations();

  // For whoever runs it.
  /// Closes the run's sessions and connections. Throws nothing.
  boost::asio::awaitable<void> clean_up();
  /// Called once when the measured part begins, before its first moment.
  void on_begin(Task on_begin) { on_begin_ = std::move(on_begin); }
  /// Spent on events so far, by all connections together.
  client::AsyncClient::Work work() const;
  /// Asks once whether the daemon accounts for late tokens; generations ask for it from then on.
  boost::asio::awaitable<void> find_out_accounts(const ClientPtr& client);
  bool accounts() const { return accounts_; }

 private:
  struct Active {
    ClientPtr client;
    std::string session;
  };
  void cancel(const Active& active);

  boost::asio::io_context& io_;
  RunOptions options_;
  std::string prefix_;
  Recorder recorder_;
  std::vector<ClientPtr> clients_;
  std::set<std::string> sessions_;
  std::set<const Active*> active_;                 // generations under way, in their coroutines' frames
  std::set<boost::asio::steady_timer*> sleeping_;  // likewise
  boost::asio::steady_timer over_;                 // the duration's end
  Task on_begin_;
  bool accounts_ = false;
  bool stopping_ = false;
};

}  // namespace condensed::bench
