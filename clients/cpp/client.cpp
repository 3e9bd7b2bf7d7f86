#include "clients/cpp/client.h"

#include <istream>
#include <utility>

namespace condensed::client {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

[[noreturn]] void fail(const json::object& error) {
  const auto text = [&](std::string_view key) {
    const json::value* value = error.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
  };
  throw RequestFailed(text("code"), text("message"));
}

std::string_view name_of(const json::object& event) {
  const json::value* name = event.if_contains("event");
  return name != nullptr && name->is_string() ? std::string_view(name->get_string()) : std::string_view();
}

}  // namespace

Client::Client(const std::string& socket_path) : socket_(io_) {
  boost::system::error_code error;
  socket_.connect(asio::local::stream_protocol::endpoint(socket_path), error);
  if (error) {
    throw ConnectionLost("cannot connect to " + socket_path + ": " + error.message() +
                         "; is the daemon running?");
  }
}

void Client::write(json::object request, std::int64_t id) {
  request["id"] = id;
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

Client::Event Client::next_event(std::optional<std::chrono::steady_clock::time_point> deadline) {
  bool done = false;
  boost::system::error_code error;
  asio::async_read_until(socket_, received_, '\n', [&](const boost::system::error_code& result, std::size_t) {
    error = result;
    done = true;
  });
  while (!done) {
    io_.restart();
    if (deadline) {
      io_.run_one_until(*deadline);
      if (!done && std::chrono::steady_clock::now() >= *deadline) {
        socket_.close();  // the read above must not outlive this call
        while (!done) {
          io_.restart();
          io_.run_one();
        }
        throw ConnectionLost("the daemon did not answer in time");
      }
    } else {
      io_.run_one();
    }
  }
  if (error) {
    throw ConnectionLost("the connection was lost: " + error.message());
  }
  std::istream stream(&received_);
  std::string line;
  std::getline(stream, line);
  json::value event = json::parse(line, error);
  if (error || !event.is_object()) {
    throw ConnectionLost("the daemon sent something that is no event");
  }
  if (observer_) {
    observer_(event.get_object());
  }
  return std::move(event.get_object());
}

Client::Event Client::next_answer(std::int64_t id,
                                  std::optional<std::chrono::steady_clock::time_point> deadline) {
  while (true) {
    Event event = next_event(deadline);
    const json::value* answered = event.if_contains("id");
    if (answered != nullptr && answered->is_int64() && answered->get_int64() == id) {
      if (name_of(event) == "error") {
        fail(event);
      }
      return event;
    }
    if (answered == nullptr) {
      if (name_of(event) == "error") {
        fail(event);  // a line the daemon could not even read
      }
      if (on_unasked_) {
        on_unasked_(event);
      }
    }
  }
}

Client::Event Client::call(json::object request, std::optional<std::chrono::milliseconds> timeout) {
  const std::int64_t id = next_id_++;
  write(std::move(request), id);
  return next_answer(id, timeout ? std::optional(std::chrono::steady_clock::now() + *timeout) : std::nullopt);
}

Client::Event Client::generate(json::object request, const OnEvent& on_token) {
  const std::int64_t id = next_id_++;
  request["op"] = "generate";
  write(std::move(request), id);
  while (true) {
    Event event = next_answer(id, std::nullopt);
    if (name_of(event) != "token") {
      return event;
    }
    on_token(event);
  }
}

void Client::watch(const std::function<bool()>& finished) {
  while (!finished()) {
    const Event event = next_event(std::nullopt);
    if (!event.contains("id") && on_unasked_) {
      on_unasked_(event);
    }
  }
}

}  // namespace condensed::client
