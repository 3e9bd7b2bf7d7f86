#include "daemon/connection.h"

#include <array>
#include <poll.h>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

namespace condensed::daemon {

namespace asio = boost::asio;

namespace {
constexpr std::size_t kReadBytes = 16384;
constexpr std::size_t kEventsPerWrite = 64;  // buffers one system call takes
constexpr std::size_t kBytesPerWrite = 65536;
}  // namespace

Connection::Connection(Socket socket, std::int64_t number, const Limits& limits, Handlers handlers, Peer peer)
    : socket_(std::move(socket)),
      number_(number),
      limits_(limits),
      handlers_(std::move(handlers)),
      peer_(std::move(peer)),
      lines_(limits.max_line_bytes),
      drained_(socket_.get_executor(), asio::steady_timer::time_point::max()),
      stalled_(socket_.get_executor()) {}

void Connection::start() {
  socket_.non_blocking(true);
  asio::co_spawn(
      socket_.get_executor(), [self = shared_from_this()] { return self->read(); }, asio::detached);
}

asio::awaitable<void> Connection::read() {
  const auto self = shared_from_this();
  const auto quietly = asio::as_tuple(asio::use_awaitable);
  while (open_ && !closing_) {
    // A client that sends without reading waits like any other.
    if (rests()) {
      co_await drained_.async_wait(quietly);
      continue;
    }
    if (!unread_.empty()) {
      take(std::exchange(unread_, {}));
      continue;
    }
    // An idle connection waits without a buffer: it costs next to nothing.
    if (const auto [failed] = co_await socket_.async_wait(Socket::wait_read, quietly); failed) {
      break;
    }
    const boost::system::error_code error = read_available();
    if (error == asio::error::eof && open_ && !closing_ && !hung_up()) {
      input_ended_ = true;
      co_await wait_until_hung_up();
      co_return;
    }
    if (error && error != asio::error::would_block) {
      break;
    }
  }
  if (!closing_) {
    close();
  }
}

boost::system::error_code Connection::read_available() {
  std::array<char, kReadBytes> buffer;
  boost::system::error_code error;
  const std::size_t n = socket_.read_some(asio::buffer(buffer), error);
  take(std::string_view(buffer.data(), n));
  return error;
}

/// Handles line after line, and keeps the rest when the connection is to rest.
void Connection::take(std::string_view bytes) {
  while (!bytes.empty() && open_ && !closing_ && !rests()) {
    switch (lines_.next(bytes)) {
      case LineSplitter::Found::nothing:
        break;
      case LineSplitter::Found::line:
        if (!lines_.line().empty()) {
          handlers_.on_line(shared_from_this(), lines_.line());
        }
        break;
      case LineSplitter::Found::too_long:
        handlers_.on_line_too_long(shared_from_this());
        break;
    }
  }
  unread_ = bytes;
}

/// Whether the client is gone, and not only done with sending.
bool Connection::hung_up() {
  pollfd descriptor{.fd = socket_.native_handle(), .events = 0, .revents = 0};
  return ::poll(&descriptor, 1, 0) < 0 || (descriptor.revents & (POLLHUP | POLLERR)) != 0;
}

/// The client has shut down its sending side; there is nothing more to read. Answers go on until all are out
/// or the client is gone.
asio::awaitable<void> Connection::wait_until_hung_up() {
  finish_if_idle();
  while (open_ && !hung_up()) {
    const auto [error] = co_await socket_.async_wait(Socket::wait_error, asio::as_tuple(asio::use_awaitable));
    if (error) {
      break;
    }
  }
  close();
}

void Connection::finish_if_idle() {
  if (!input_ended_) {
    return;
  }
  // Later, because whoever ended a request or a generation is not done with it yet.
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->requests_in_flight_ == 0 && self->generations_paced_ == 0 && self->large_answers_ == 0) {
      self->close_when_written();
    }
  });
}

void Connection::send(std::string event, StreamCredit credit) {
  if (!open_) {
    credit.settle();
    return;
  }
  unsent_bytes_ += event.size();
  congested_ = congested_ || unsent_bytes_ > limits_.send_buffer_bytes;
  queue_.push_back({std::move(event), std::move(credit)});
  if (!writing_) {
    write();
  }
}

void Connection::send_unasked(std::string event) {
  if (unsent_bytes_ <= kOverflowFactor * limits_.send_buffer_bytes) {
    send(std::move(event));
  } else if (!std::exchange(overflowed_, true)) {
    // Later, because the sender goes through a list that closing changes.
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->open_) {
        spdlog::warn("cut off, {} bytes of events are unread connection={}", self->unsent_bytes_,
                     self->number_);
        self->close();
      }
    });
  }
}

void Connection::write() {
  writing_ = true;
  std::vector<asio::const_buffer> buffers;
  while (!queue_.empty() && buffers.size() < kEventsPerWrite) {
    in_write_.push_back(std::move(queue_.front()));
    queue_.pop_front();
    buffers.emplace_back(asio::buffer(in_write_.back().event));
  }
  last_progress_ = Clock::now();
  check_progress_later();
  asio::async_write(
      socket_, buffers,
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t n) {
        if (n > 0) {
          self->last_progress_ = Clock::now();
        }
        return error ? 0 : kBytesPerWrite;
      },
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
        self->writing_ = false;
        self->settle(self->in_write_);
        if (!error && self->open_ && !self->queue_.empty()) {
          self->write();
        } else if (error || self->closing_) {
          self->close();
        }
      });
}

/// One timer that looks now and then is cheaper than one set anew by every write.
void Connection::check_progress_later() {
  if (limits_.stall_timeout.count() == 0 || std::exchange(checking_progress_, true)) {
    return;
  }
  stalled_.expires_at(last_progress_ + limits_.stall_timeout);
  stalled_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (const auto self = weak.lock(); self && !error) {
      self->checking_progress_ = false;
      self->check_progress();
    }
  });
}

void Connection::check_progress() {
  if (!open_ || !writing_) {
    return;
  }
  if (Clock::now() - last_progress_ < limits_.stall_timeout) {
    check_progress_later();
    return;
  }
  spdlog::warn(
      "connection {}: cut off, nothing of {} unsent bytes could be written for {} ms (stall_timeout_ms)",
      number_, unsent_bytes_, limits_.stall_timeout.count());
  close();
}

/// The events have left the queue for good.
void Connection::settle(std::deque<Outgoing>& sent) {
  for (Outgoing& outgoing : std::exchange(sent, {})) {
    unsent_bytes_ -= outgoing.event.size();
    outgoing.credit.settle();
  }
  if (congested_ && open_ && unsent_bytes_ <= limits_.send_buffer_bytes / 2) {
    congested_ = false;
    drained_.cancel();
    handlers_.on_drained(shared_from_this());
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
  stalled_.cancel();
  handlers_.on_closed(shared_from_this());
}

bool Connection::begin_request() {
  if (requests_in_flight_ >= limits_.max_requests_in_flight) {
    return false;
  }
  ++requests_in_flight_;
  return true;
}

void Connection::end_request() {
  --requests_in_flight_;
  finish_if_idle();
}

void Connection::end_large_answer() {
  --large_answers_;
  drained_.cancel();
  finish_if_idle();
}

asio::awaitable<void> Connection::drained() {
  const auto self = shared_from_this();
  while (open_ && congested_) {
    co_await drained_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

void Connection::end_pacing() {
  --generations_paced_;
  finish_if_idle();
}

}  // namespace condensed::daemon
