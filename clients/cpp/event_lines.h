#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

namespace condensed::client {

/// What a connection receives, as lines, and when each came. Used by one thread.
class EventLines {
 public:
  using Clock = std::chrono::steady_clock;
  using Socket = boost::asio::local::stream_protocol::socket;

  /// The next whole line without its end, if it is here; good until the next call.
  std::optional<std::string_view> next();

  /// When the end of the latest line that next() gave was read from the socket. Lines of one read came
  /// together, as far as a client can tell.
  Clock::time_point arrived() const { return arrived_; }

  /// Waits for bytes and takes what is there; then `handler(error)`. Not before all lines here were taken.
  /// This and the socket must outlive it.
  template <typename Handler>
  void async_fill(Socket& socket, Handler handler) {
    socket.async_read_some(room(), [this, handler = std::move(handler)](
                                       const boost::system::error_code& error, std::size_t n) mutable {
      arrived_ = Clock::now();  // before anything else is done with it
      end_ += n;
      handler(error);
    });
  }

 private:
  boost::asio::mutable_buffer room();

  std::vector<char> bytes_ = std::vector<char>(std::size_t{64} << 10);
  std::size_t begin_ = 0;     // of what was not given out yet
  std::size_t end_ = 0;       // of what was read
  std::size_t searched_ = 0;  // up to here there is no end of a line
  Clock::time_point arrived_;
};

}  // namespace condensed::client
