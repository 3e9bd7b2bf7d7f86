#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio.hpp>

#include "daemon/access.h"
#include "daemon/line_splitter.h"
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
///
/// A client may shut down its sending side (`printf … | socat`): it still gets the answers to its requests
/// and the generations it paces, then the connection ends.
///
/// A client that does not read is not read from while more than the send buffer is unsent, and cut off when
/// not one byte could be written for the stall timeout.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;

  struct Limits {
    std::size_t max_line_bytes = 0;
    std::size_t send_buffer_bytes = 0;
    std::int64_t max_requests_in_flight = 0;
    std::chrono::milliseconds stall_timeout{0};  // 0: none
  };
  struct Handlers {
    std::function<void(const std::shared_ptr<Connection>&, std::string_view line)> on_line;
    std::function<void(const std::shared_ptr<Connection>&)> on_line_too_long;
    std::function<void(const std::shared_ptr<Connection>&)> on_drained;  // no longer congested
    std::function<void(const std::shared_ptr<Connection>&)> on_closed;   // once; the connection is dead then
  };

  Connection(Socket socket, std::int64_t number, const Limits& limits, Handlers handlers, Peer peer = {});

  /// Begins to read.
  void start();
  /// Queues one event.
  void send(std::string event) { send(std::move(event), {}); }
  /// The same for a stream that this connection paces: it is told of `credit` when the event is written or
  /// lost.
  void send(std::string event, StreamCredit credit);
  /// Queues an event that no request of this client asked for. A client that leaves a multiple of its buffer
  /// unread is cut off: such events must not pile up.
  void send_unasked(std::string event);
  /// Ends the connection once what is queued is written; reads no more.
  void close_when_written();
  /// Ends it now.
  void close();

  std::int64_t number() const { return number_; }
  const Peer& peer() const { return peer_; }
  const Limits& limits() const { return limits_; }
  bool open() const { return open_; }
  /// More is unsent than the buffer should hold; stays so until half of it is free again.
  bool congested() const { return congested_; }

  /// Counts a request as unanswered; false if too many are.
  bool begin_request();
  void end_request();
  /// Nothing is read while a request is under way whose answer may be large: so never more than one such
  /// answer waits beyond the send buffer.
  void begin_large_answer() { ++large_answers_; }
  void end_large_answer();
  /// Waits until the connection is no longer congested, or has ended.
  boost::asio::awaitable<void> drained();
  /// Counts the generations that this connection paces.
  void begin_pacing() { ++generations_paced_; }
  void end_pacing();

 private:
  using Clock = std::chrono::steady_clock;

  static constexpr std::size_t kOverflowFactor = 16;

  struct Outgoing {
    std::string event;
    StreamCredit credit;
  };

  boost::asio::awaitable<void> read();
  boost::asio::awaitable<void> wait_until_hung_up();
  boost::system::error_code read_available();
  void take(std::string_view bytes);
  bool rests() const { return congested_ || large_answers_ > 0; }
  bool hung_up();
  void write();
  void settle(std::deque<Outgoing>& sent);
  void check_progress_later();
  void check_progress();
  void finish_if_idle();

  Socket socket_;
  std::int64_t number_;
  Limits limits_;
  Handlers handlers_;
  Peer peer_;
  bool open_ = true;
  bool closing_ = false;      // ends when all is written
  bool input_ended_ = false;  // ends when all is answered
  bool writing_ = false;
  bool congested_ = false;
  bool overflowed_ = false;  // about to be cut off
  std::int64_t requests_in_flight_ = 0;
  std::int64_t generations_paced_ = 0;
  std::int64_t large_answers_ = 0;
  LineSplitter lines_;
  std::string unread_;  // received, not looked at yet because the connection rests
  std::size_t unsent_bytes_ = 0;
  std::deque<Outgoing> queue_;
  std::deque<Outgoing> in_write_;
  boost::asio::steady_timer drained_;  // expires never; cancelled when the connection may no longer rest
  Clock::time_point last_progress_;    // when the write under way began or some of it was written
  bool checking_progress_ = false;     // the timer below runs
  boost::asio::steady_timer stalled_;
};

}  // namespace condensed::daemon
