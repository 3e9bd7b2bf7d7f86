#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "clients/cpp/event_lines.h"

namespace condensed::client {

/// One of many connections to the daemon on one thread: the same as Client (docs/protocol.md), for coroutines
/// of an io_context that its owner runs. Events are stamped when they are read. With many connections ready
/// at once all are read before the first event is looked at, so that none is stamped late for the others'
/// sake.
class AsyncClient : public std::enable_shared_from_this<AsyncClient> {
 public:
  using Clock = EventLines::Clock;
  using Event = boost::json::object;
  /// The event is gone when it returns. What it throws ends the connection.
  using OnToken = std::function<void(const Event& token, Clock::time_point arrived)>;

  struct Answer {
    Event event;
    Clock::time_point sent;     // when the request's first byte was given to the socket
    Clock::time_point arrived;  // when the answer was read
  };
  /// What was done with events once they were read, the handlers' part included.
  struct Work {
    std::int64_t events = 0;
    std::chrono::nanoseconds busy{0};
  };

  /// user: as Client::set_user. Throws ConnectionLost.
  static std::shared_ptr<AsyncClient> connect(boost::asio::io_context& io, const std::string& socket_path,
                                              const std::string& user);

  /// Sends a request and waits for its one answer. *refused is set when that is an error, before anything
  /// that the daemon sent after it is looked at. Throws RequestFailed and ConnectionLost.
  boost::asio::awaitable<Answer> call(Event request, bool* refused = nullptr);
  /// Starts a generation; on_token gets every `token` event. Returns the `done` event. Throws as call() does.
  boost::asio::awaitable<Answer> generate(Event request, OnToken on_token);
  /// Sends a request whose answer nobody waits for.
  void send(Event request);
  /// Ends the connection; whoever waits gets ConnectionLost. It is not used afterwards.
  void close();

  const Work& work() const { return work_; }

 private:
  struct Pending;
  struct Unsent {
    std::string line;
    std::int64_t id;
  };

  AsyncClient(boost::asio::io_context& io, const std::string& user);
  boost::asio::awaitable<Answer> answer(Event request, OnToken on_token, bool* refused);
  void enqueue(Event request, std::int64_t id);
  void write();
  void read();
  void take_lines();
  void take(std::string_view line);
  void lose(const std::string& why);

  boost::asio::io_context& io_;
  EventLines::Socket socket_;
  std::string user_;
  EventLines received_;
  std::deque<Unsent> unsent_;
  std::map<std::int64_t, Pending*> pending_;  // those that wait, in their coroutines' frames
  std::int64_t next_id_ = 1;
  std::string lost_;  // why the connection is over; empty while it is not
  // Most events are tokens, looked at and forgotten: no memory is asked for.
  std::array<unsigned char, 4096> event_bytes_;
  boost::json::monotonic_resource event_memory_{event_bytes_.data(), event_bytes_.size()};
  boost::json::parser parser_;
  Work work_;
};

}  // namespace condensed::client
