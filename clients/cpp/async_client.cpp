#include "clients/cpp/async_client.h"

#include <exception>
#include <optional>
#include <utility>

#include "clients/cpp/client.h"
#include "clients/cpp/wire.h"

namespace condensed::client {

namespace asio = boost::asio;
namespace json = boost::json;

/// A request under way, for as long as its coroutine waits.
struct AsyncClient::Pending {
  Pending(AsyncClient& in_client, OnToken in_on_token, bool* in_refused)
      : client(in_client),
        id(in_client.next_id_++),
        on_token(std::move(in_on_token)),
        refused(in_refused),
        finished(in_client.io_, Clock::time_point::max()) {
    client.pending_[id] = this;
  }
  ~Pending() { client.pending_.erase(id); }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  AsyncClient& client;
  std::int64_t id;
  OnToken on_token;
  bool* refused;
  asio::steady_timer finished;  // never expires; cancelled when the answer is there
  std::optional<Event> event;
  Clock::time_point sent;
  Clock::time_point arrived;
};

std::shared_ptr<AsyncClient> AsyncClient::connect(asio::io_context& io, const std::string& socket_path,
                                                  const std::string& user) {
  const std::shared_ptr<AsyncClient> client(new AsyncClient(io, user));
  client->socket_ = connected_socket(io, socket_path);
  client->read();
  return client;
}

AsyncClient::AsyncClient(asio::io_context& io, const std::string& user) : io_(io), socket_(io), user_(user) {}

asio::awaitable<AsyncClient::Answer> AsyncClient::call(Event request, bool* refused) {
  return answer(std::move(request), nullptr, refused);
}

asio::awaitable<AsyncClient::Answer> AsyncClient::generate(Event request, OnToken on_token) {
  request["op"] = "generate";
  return answer(std::move(request), std::move(on_token), nullptr);
}

asio::awaitable<AsyncClient::Answer> AsyncClient::answer(Event request, OnToken on_token, bool* refused) {
  const std::shared_ptr<AsyncClient> self = shared_from_this();
  Pending pending(*this, std::move(on_token), refused);
  enqueue(std::move(request), pending.id);
  while (!pending.event && lost_.empty()) {
    co_await pending.finished.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  if (!pending.event) {
    throw ConnectionLost(lost_);
  }
  throw_if_error(*pending.event);
  co_return Answer{std::move(*pending.event), pending.sent, pending.arrived};
}

void AsyncClient::send(Event request) {
  enqueue(std::move(request), next_id_++);
}

void AsyncClient::enqueue(Event request, std::int64_t id) {
  unsent_.push_back({request_line(std::move(request), id, user_), id});
  if (unsent_.size() == 1 && lost_.empty()) {
    write();
  }
}

void AsyncClient::write() {
  if (const auto pending = pending_.find(unsent_.front().id); pending != pending_.end()) {
    pending->second->sent = Clock::now();
  }
  asio::async_write(socket_, asio::buffer(unsent_.front().line),
                    [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                      self->unsent_.pop_front();
                      if (error) {
                        self->lose("the connection was lost: " + error.message());
                      } else if (!self->unsent_.empty()) {
                        self->write();
                      }
                    });
}

void AsyncClient::read() {
  received_.async_fill(socket_, [self = shared_from_this()](const boost::system::error_code& error) {
    if (error) {
      self->lose("the connection was lost: " + error.message());
      return;
    }
    // Behind the other sockets that are ready now.
    asio::post(self->io_, [self] { self->take_lines(); });
  });
}

void AsyncClient::take_lines() {
  const Clock::time_point begin = Clock::now();
  while (const std::optional<std::string_view> line = lost_.empty() ? received_.next() : std::nullopt) {
    take(*line);
    ++work_.events;
  }
  work_.busy += Clock::now() - begin;
  if (lost_.empty()) {
    read();
  }
}

void AsyncClient::take(std::string_view line) {
  event_memory_.release();
  parser_.reset(&event_memory_);
  boost::system::error_code error;
  parser_.write(line, error);
  const json::value value = error ? json::value() : parser_.release();
  const json::object* const event = value.if_object();
  if (event == nullptr) {
    lose("the daemon sent something that is no event");
    return;
  }
  const json::value* const id = event->if_contains("id");
  const auto found = pending_.find(id != nullptr && id->is_int64() ? id->get_int64() : 0);
  if (found == pending_.end()) {
    return;
  }
  Pending& pending = *found->second;
  if (pending.on_token && text_at(*event, "event") == "token") {
    try {
      pending.on_token(*event, received_.arrived());
    } catch (const std::exception& unusable) {  // it must not leave the io_context: others wait there
      lose(std::string("the daemon sent a token that cannot be used: ") + unusable.what());
    }
    return;
  }
  if (pending.refused != nullptr) {
    *pending.refused = text_at(*event, "event") == "error";
  }
  pending.event.emplace(*event, json::storage_ptr());
  pending.arrived = received_.arrived();
  pending.finished.cancel();
}

void AsyncClient::lose(const std::string& why) {
  if (lost_.empty()) {
    lost_ = why;
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  for (const auto& [id, pending] : pending_) {
    pending->finished.cancel();
  }
}

void AsyncClient::close() {
  lose("the connection was closed");
}

}  // namespace condensed::client
