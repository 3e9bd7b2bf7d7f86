#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "clients/cpp/event_lines.h"

namespace condensed::client {

/// The daemon answered a request with an `error` event.
class RequestFailed : public std::runtime_error {
 public:
  /// `event` is the error as it came.
  explicit RequestFailed(const boost::json::object& event);
  const std::string& code() const { return code_; }
  /// The daemon's setting that was reached; empty if it was none.
  const std::string& limit() const { return limit_; }
  /// When trying again may help; absent when it will not, or nothing is known.
  std::optional<std::chrono::milliseconds> retry_after() const { return retry_after_; }

 private:
  std::string code_;
  std::string limit_;
  std::optional<std::chrono::milliseconds> retry_after_;
};

/// The daemon cannot be reached, has gone, or does not answer in time.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One connection to the daemon (docs/protocol.md). Requests are objects without `id`: the client numbers
/// them and gives each event to the request it answers. Used by one thread; the io_context runs inside the
/// calls. Handlers may make calls of their own, and what they throw comes out of the call that ran them.
class Client {
 public:
  using Event = boost::json::object;
  using OnEvent = std::function<void(const Event&)>;
  using OnPart = std::function<void(std::string_view)>;  // bytes of a file, in order
  using NextPart = std::function<std::string()>;

  /// Throws ConnectionLost.
  explicit Client(const std::string& socket_path);

  /// Signals and timers of the caller may run on it while a call waits.
  boost::asio::io_context& io() { return io_; }

  /// Sees every event as it comes, before the request it answers does.
  void observe(OnEvent observer) { observer_ = std::move(observer); }
  /// Whose sessions every request from now on is about: a user's name or number, or "*" for all users' in
  /// `list`. Empty: one's own.
  void set_user(std::string user) { user_ = std::move(user); }
  /// Gets the events that answer no request: streams this connection is attached to, `closed`, `bye`.
  void on_unasked(OnEvent on_event) { on_unasked_ = std::move(on_event); }

  /// Sends a request and waits for its one answer. Throws RequestFailed, and ConnectionLost, also when the
  /// answer does not come within `timeout`; should it come later, it is dropped.
  Event call(boost::json::object request, std::optional<std::chrono::milliseconds> timeout = std::nullopt);

  /// Starts a generation; on_token gets every `token` event. Returns the `done` event. Throws as call() does.
  Event generate(boost::json::object request, const OnEvent& on_token);

  /// Starts a generation that goes on without this connection, and detaches from its session. Returns when it
  /// has begun. Throws as call() does.
  void generate_detached(boost::json::object request);

  /// Receives a session as a file, a part at a time, no faster than on_part returns. Returns the `exported`
  /// event. Throws as call() does.
  Event export_session(const std::string& session, const OnPart& on_part);

  /// Makes a session of an exported one's file; with an empty name the daemon chooses one. next_part gives
  /// the file's bytes, about 48 KiB a time, then an empty part; if it throws, this connection can import
  /// nothing else. Returns the `imported` event. Throws as call() does.
  Event import_session(const std::string& session, const NextPart& next_part);

  /// Sends a request whose answer nobody waits for.
  void send(boost::json::object request);

  /// Waits for events until `finished` says so; for connections that only watch.
  void watch(const std::function<bool()>& finished);

 private:
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;
  class Pending;  // clients/cpp/pending.h

  void write(boost::json::object request, std::int64_t id);
  void await_bytes(const Deadline& deadline);
  Event read_event(const Deadline& deadline);
  void receive(const Deadline& deadline);
  Event next_answer(std::int64_t id, const Deadline& deadline);

  boost::asio::io_context io_;
  boost::asio::local::stream_protocol::socket socket_;
  EventLines received_;
  // The read under way outlives the call that began it when that call throws.
  bool reading_ = false;
  boost::system::error_code read_error_;
  std::int64_t next_id_ = 1;
  std::map<std::int64_t, std::deque<Event>> pending_;  // requests under way and their events not yet taken
  std::string user_;
  OnEvent observer_;
  OnEvent on_unasked_;
};

}  // namespace condensed::client
