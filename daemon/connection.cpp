#include "daemon/connection.h"

#include <array>
#include <utility>
#include <vector>

#include "daemon/events.h"
#include "daemon/line_splitter.h"

namespace condensed::daemon {

namespace asio = boost::asio;

namespace {
constexpr std::size_t kReadBytes = 16384;
constexpr std::size_t kEventsPerWrite = 64;  // buffers one system call takes
}  // namespace

Connection::Connection(Socket socket, std::int64_t number, const Limits& limits, Handlers handlers)
    : socket_(std::move(socket)),
      number_(number),
      limits_(limits),
      handlers_(std::move(handlers)),
      drained_(socket_.get_executor(), asio::steady_timer::time_point::max()) {}

void Connection::start() {
  asio::co_spawn(
      socket_.get_executor(), [self = shared_from_this()] { return self->read(); }, asio::detached);
}

asio::awaitable<void> Connection::read() {
  const auto self = shared_from_this();
  LineSplitter splitter(limits_.max_line_bytes);
  std::array<char, kReadBytes> buffer{};
  const auto quietly = asio::as_tuple(asio::use_awaitable);
  while (open_ && !closing_) {
    // A client that sends without reading waits like any other.
    while (open_ && congested()) {
      co_await drained_.async_wait(quietly);
    }
    const auto [error, n] = co_await socket_.async_read_some(asio::buffer(buffer), quietly);
    if (error) {
      break;
    }
    splitter.feed(
        std::string_view(buffer.data(), n),
        [&](std::string_view line) {
          if (!line.empty() && open_ && !closing_) {
            handlers_.on_line(self, line);
          }
        },
        [&] {
          send(error_event("line_too_long", "the line exceeds max_line_bytes (" +
                                                std::to_string(limits_.max_line_bytes) +
                                                "); send long input in several appends"));
        });
  }
  if (!closing_) {
    close();
  }
}

void Connection::send(std::string event, StreamCredit credit) {
  if (!open_) {
    credit.settle();
    return;
  }
  unsent_bytes_ += event.size();
  queue_.push_back({std::move(event), std::move(credit)});
  if (!writing_) {
    write();
  }
}

void Connection::write() {
  writing_ = true;
  std::vector<asio::const_buffer> buffers;
  while (!queue_.empty() && buffers.size() < kEventsPerWrite) {
    in_write_.push_back(std::move(queue_.front()));
    queue_.pop_front();
    buffers.push_back(asio::buffer(in_write_.back().event));
  }
  asio::async_write(socket_, buffers,
                    [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                      self->writing_ = false;
                      self->settle(self->in_write_);
                      if (error || !self->open_) {
                        self->close();
                      } else if (!self->queue_.empty()) {
                        self->write();
                      } else if (self->closing_) {
                        self->close();
                      }
                    });
}

/// The events have left the queue for good.
void Connection::settle(std::deque<Outgoing>& sent) {
  for (Outgoing& outgoing : std::exchange(sent, {})) {
    unsent_bytes_ -= outgoing.event.size();
    outgoing.credit.settle();
  }
  if (!congested()) {
    drained_.cancel();
  }
}

void Connection::close_when_written() {
  closing_ = true;
  if (!writing_) {
    close();
  }
}

void Connection::close() {
  if (!open_) {
    return;
  }
  open_ = false;
  boost::system::error_code ignored;
  socket_.close(ignored);
  settle(queue_);
  drained_.cancel();
  handlers_.on_closed(shared_from_this());
}

bool Connection::begin_request() {
  if (requests_in_flight_ >= limits_.max_requests_in_flight) {
    return false;
  }
  ++requests_in_flight_;
  return true;
}

}  // namespace condensed::daemon
