#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/asio.hpp>
#include <boost/json.hpp>

namespace condensed::client {

/// The daemon answered a request with an `error` event.
class RequestFailed : public std::runtime_error {
 public:
  RequestFailed(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

/// The daemon cannot be reached, has gone, or does not answer in time.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One connection to the daemon (docs/protocol.md). Requests are objects without `id`: the client numbers
/// them and gives each event to the request it answers. Used by one thread; the io_context runs inside the
/// calls.
class Client {
 public:
  using Event = boost::json::object;
  using OnEvent = std::function<void(const Event&)>;

  /// Throws ConnectionLost.
  explicit Client(const std::string& socket_path);

  /// Signals and timers of the caller may run on it while a call waits.
  boost::asio::io_context& io() { return io_; }

  /// Sees every event as it comes, before the request it answers does.
  void observe(OnEvent observer) { observer_ = std::move(observer); }
  /// Gets the events that answer no request: streams this connection is attached to, `closed`, `bye`.
  void on_unasked(OnEvent on_event) { on_unasked_ = std::move(on_event); }

  /// Sends a request and waits for its one answer. Throws RequestFailed, and ConnectionLost, also when
  /// nothing came within `timeout`.
  Event call(boost::json::object request, std::optional<std::chrono::milliseconds> timeout = std::nullopt);

  /// Starts a generation; on_token gets every `token` event. Returns the `done` event.
  Event generate(boost::json::object request, const OnEvent& on_token);

  /// Sends a request whose answer nobody waits for. Safe inside handlers.
  void send(boost::json::object request);

  /// Waits for events until `finished` says so; for connections that only watch.
  void watch(const std::function<bool()>& finished);

 private:
  void write(boost::json::object request, std::int64_t id);
  Event next_event(std::optional<std::chrono::steady_clock::time_point> deadline);
  /// The next event that answers request `id`.
  Event next_answer(std::int64_t id, std::optional<std::chrono::steady_clock::time_point> deadline);

  boost::asio::io_context io_;
  boost::asio::local::stream_protocol::socket socket_;
  boost::asio::streambuf received_;
  std::int64_t next_id_ = 1;
  OnEvent observer_;
  OnEvent on_unasked_;
};

}  // namespace condensed::client
