#include "clients/cpp/client.h"

#include <utility>

#include "clients/cpp/pending.h"
#include "clients/cpp/wire.h"

namespace condensed::client {

namespace asio = boost::asio;
namespace json = boost::json;

RequestFailed::RequestFailed(const json::object& event)
    : std::runtime_error(std::string(text_at(event, "message"))),
      code_(text_at(event, "code")),
      limit_(text_at(event, "limit")) {
  const json::value* retry = event.if_contains("retry_after_ms");
  if (retry != nullptr && retry->is_int64() && retry->get_int64() >= 0) {
    retry_after_ = std::chrono::milliseconds(retry->get_int64());
  }
}

Client::Client(const std::string& socket_path) : socket_(connected_socket(io_, socket_path)) {}

void Client::write(json::object request, std::int64_t id) {
  const std::string line = request_line(std::move(request), id, user_);
  boost::system::error_code error;
  asio::write(socket_, asio::buffer(line), error);
  if (error) {
    throw ConnectionLost("the connection was lost: " + error.message());
  }
}

void Client::send(json::object request) {
  write(std::move(request), next_id_++);
}

void Client::await_bytes(const Deadline& deadline) {
  if (!std::exchange(reading_, true)) {
    received_.async_fill(socket_, [this](const boost::system::error_code& error) {
      reading_ = false;
      read_error_ = error;
    });
  }
  while (reading_) {
    io_.restart();
    if (!deadline) {
      io_.run_one();
    } else if (io_.run_one_until(*deadline) == 0) {
      throw ConnectionLost("the daemon did not answer in time");
    }
  }
  if (read_error_) {
    throw ConnectionLost("the connection was lost: " + read_error_.message());
  }
}

Client::Event Client::read_event(const Deadline& deadline) {
  std::optional<std::string_view> line;
  while (!(line = reading_ ? std::nullopt : received_.next())) {
    await_bytes(deadline);
  }
  return parsed_event(*line);
}

/// Reads one event and gives it to whom it is for.
void Client::receive(const Deadline& deadline) {
  Event event = read_event(deadline);
  if (observer_) {
    observer_(event);
  }
  if (const json::value* id = event.if_contains("id")) {
    if (const auto request = pending_.find(id->is_int64() ? id->get_int64() : 0); request != pending_.end()) {
      request->second.push_back(std::move(event));
    }
    return;
  }
  throw_if_error(event);  // the daemon could not even read a line of ours
  if (on_unasked_) {
    on_unasked_(event);
  }
}

Client::Event Client::next_answer(std::int64_t id, const Deadline& deadline) {
  std::deque<Event>& events = pending_.at(id);
  while (events.empty()) {
    receive(deadline);
  }
  Event event = std::move(events.front());
  events.pop_front();
  throw_if_error(event);
  return event;
}

Client::Event Client::call(json::object request, std::optional<std::chrono::milliseconds> timeout) {
  const Pending pending(*this);
  const Deadline deadline = timeout ? Deadline(std::chrono::steady_clock::now() + *timeout) : std::nullopt;
  write(std::move(request), pending.id());
  return next_answer(pending.id(), deadline);
}

Client::Event Client::generate(json::object request, const OnEvent& on_token) {
  const Pending pending(*this);
  request["op"] = "generate";
  write(std::move(request), pending.id());
  while (true) {
    Event event = next_answer(pending.id(), std::nullopt);
    if (text_at(event, "event") != "token") {
      return event;
    }
    on_token(event);
  }
}

void Client::generate_detached(json::object request) {
  const Pending pending(*this);
  const json::value session = request.at("session");
  request["op"] = "generate";
  request["detached"] = true;
  write(std::move(request), pending.id());
  // Carried out after it, so its answer says that the generation has begun or been refused.
  call({{"op", "detach"}, {"session", session}});
  if (const auto& events = pending_.at(pending.id()); !events.empty()) {
    throw_if_error(events.front());
  }
}

void Client::watch(const std::function<bool()>& finished) {
  while (!finished()) {
    receive(std::nullopt);
  }
}

}  // namespace condensed::client
