#include "clients/cpp/wire.h"

#include <utility>

#include "clients/cpp/client.h"

namespace condensed::client {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

/// Whether a request is about sessions, and not about the daemon.
bool about_sessions(const json::object& request) {
  const std::string_view op = text_at(request, "op");
  return op != "ping" && op != "metrics" && (op != "stat" || request.contains("session"));
}

}  // namespace

asio::local::stream_protocol::socket connected_socket(asio::io_context& io, const std::string& socket_path) {
  asio::local::stream_protocol::socket socket(io);
  boost::system::error_code error;
  try {
    socket.connect(asio::local::stream_protocol::endpoint(socket_path), error);
  } catch (const boost::system::system_error& too_long) {
    error = too_long.code();
  }
  if (error) {
    throw ConnectionLost("cannot connect to " + socket_path + ": " + error.message() +
                         "; is the daemon running?");
  }
  return socket;
}

std::string_view text_at(const json::object& event, std::string_view key) {
  const json::value* value = event.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

json::object parsed_event(std::string_view line) {
  boost::system::error_code error;
  json::value event = json::parse(line, error);
  if (error || !event.is_object()) {
    throw ConnectionLost("the daemon sent something that is no event");
  }
  return std::move(event.get_object());
}

void throw_if_error(const json::object& event) {
  if (text_at(event, "event") == "error") {
    throw RequestFailed(event);
  }
}

std::string request_line(json::object request, std::int64_t id, const std::string& user) {
  request["id"] = id;
  if (!user.empty() && about_sessions(request)) {
    request["user"] = user;
  }
  return json::serialize(request) + "\n";
}

}  // namespace condensed::client
