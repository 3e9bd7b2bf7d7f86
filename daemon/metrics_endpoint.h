#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio.hpp>

#include "daemon/unix_listener.h"

namespace condensed::daemon {

/// Answers HTTP's GET /metrics on a Unix socket of its own, so that a scraper needs no right to use sessions.
/// Used on the socket thread only. Dropping the io_context drops the connections.
class MetricsEndpoint {
 public:
  /// Is handed the metrics' text, or nothing when the engine is stopping; on the socket thread.
  using Receive = std::function<void(std::optional<std::string> text)>;
  using Scrape = std::function<void(Receive receive)>;

  MetricsEndpoint(boost::asio::io_context& io, std::unique_ptr<UnixListener> listener, Scrape scrape);

  /// Begins to accept.
  void start();
  /// Accepts no more and removes the socket.
  void close() { listener_->close(); }

 private:
  using Socket = boost::asio::local::stream_protocol::socket;

  boost::asio::awaitable<void> serve(Socket socket, std::shared_ptr<void> slot);
  boost::asio::awaitable<std::optional<std::string>> scraped();

  boost::asio::io_context& io_;
  std::unique_ptr<UnixListener> listener_;
  Scrape scrape_;
  std::shared_ptr<void> slots_;  // every connection holds it, so its use_count() counts them
};

}  // namespace condensed::daemon
