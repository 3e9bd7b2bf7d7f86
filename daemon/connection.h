#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio.hpp>

#include "daemon/paced_stream.h"

namespace condensed::daemon {

/// Bytes of a paced stream that wait to be written.
struct StreamCredit {
  std::shared_ptr<PacedStream> stream;
  std::size_t bytes = 0;

  void settle() const {
    if (stream) {
      stream->written(bytes);
    }
  }
};

/// One client: reads lines, writes events. Used on the socket thread only.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;

  struct Limits {
    std::size_t max_line_bytes = 0;
    std::size_t send_buffer_bytes = 0;
    std::int64_t max_requests_in_flight = 0;
  };
  struct Handlers {
    std::function<void(const std::shared_ptr<Connection>&, std::string_view line)> on_line;
    std::function<void(const std::shared_ptr<Connection>&)> on_closed;  // once; the connection is dead then
  };

  Connection(Socket socket, std::int64_t number, const Limits& limits, Handlers handlers);

  /// Begins to read.
  void start();
  /// Queues one event.
  void send(std::string event) { send(std::move(event), {}); }
  /// The same for a stream that this connection paces: it is told of `credit` when the event is written or
  /// lost.
  void send(std::string event, StreamCredit credit);
  /// Ends the connection once what is queued is written; reads no more.
  void close_when_written();
  /// Ends it now.
  void close();

  std::int64_t number() const { return number_; }
  bool open() const { return open_; }
  /// More is unsent than the connection's buffer should hold.
  bool congested() const { return unsent_bytes_ > limits_.send_buffer_bytes; }

  /// Counts a request as unanswered; false if too many are.
  bool begin_request();
  void end_request() { --requests_in_flight_; }

 private:
  struct Outgoing {
    std::string event;
    StreamCredit credit;
  };

  boost::asio::awaitable<void> read();
  void write();
  void settle(std::deque<Outgoing>& sent);

  Socket socket_;
  std::int64_t number_;
  Limits limits_;
  Handlers handlers_;
  bool open_ = true;
  bool closing_ = false;
  bool writing_ = false;
  std::int64_t requests_in_flight_ = 0;
  std::size_t unsent_bytes_ = 0;
  std::deque<Outgoing> queue_;
  std::deque<Outgoing> in_write_;
  boost::asio::steady_timer drained_;  // expires never; cancelled when the queue has drained
};

}  // namespace condensed::daemon
