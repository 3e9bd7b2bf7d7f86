#include "clients/cpp/client.h"

#include <istream>
#include <utility>

#include "clients/cpp/pending.h"

namespace condensed::client {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

std::string_view text_at(const json::object& event, std::string_view key) {
  const json::value* value = event.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

void throw_if_error(const json::object& event) {
  if (text_at(event, "event") == "error") {
    throw RequestFailed(event);
  }
}

/// Whether a request is about sessions, and not about the daemon.
bool about_sessions(const json::object& request) {
  const std::string_view op = text_at(request, "op");
  return op != "ping" && op != "metrics" && (op != "stat" || request.contains("session"));
}

}  // namespace

RequestFailed::RequestFailed(const json::object& event)
    : std::runtime_error(std::string(text_at(event, "message"))),
      code_(text_at(event, "code")),
      limit_(text_at(event, "limit")) {
  const json::value* retry = event.if_contains("retry_after_ms");
  if (retry != nullptr && retry->is_int64() && retry->get_int64() >= 0) {
    retry_after_ = std::chrono::milliseconds(retry->get_int64());
  }
}

Client::Client(const std::string& socket_path) : socket_(io_) {
  boost::system::error_code error;
  try {
    socket_.connect(asio::local::stream_protocol::endpoint(socket_path), error);
  } catch (const boost::system::system_error& too_long) {
    error = too_long.code();
  }
  if (error) {
    throw ConnectionLost("cannot connect to " + socket_path + ": " + error.message() +
                         "; is the daemon running?");
  }
}

void Client::write(json::object request, std::int64_t id) {
  request["id"] = id;
  if (!user_.empty() && about_sessions(request)) {
    request["user"] = user_;
  }
  const std::string line = json::serialize(request) + "\n";
  boost::system::error_code error;
  asio::write(socket_, asio::buffer(line), error);
  if (error) {
    throw ConnectionLost("the connection was lost: " + error.message());
  }
}

void Client::send(json::object request) {
  write(std::move(request), next_id_++);
}

Client::Event Client::read_event(const Deadline& deadline) {
  if (!std::exchange(reading_, true)) {
    asio::async_read_until(socket_, received_, '\n',
                           [this](const boost::system::error_code& error, std::size_t) {
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
  std::istream stream(&received_);
  std::string line;
  std::getline(stream, line);
  boost::system::error_code error;
  json::value event = json::parse(line, error);
  if (error || !event.is_object()) {
    throw ConnectionLost("the daemon sent something that is no event");
  }
  return std::move(event.get_object());
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
