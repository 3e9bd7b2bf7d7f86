#include "daemon/metrics_endpoint.h"

#include <array>
#include <chrono>
#include <utility>

#include <boost/beast.hpp>

namespace condensed::daemon {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

namespace {

using Stream = beast::basic_stream<asio::local::stream_protocol>;
using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

constexpr long kMaxConnections = 16;
constexpr std::uint32_t kMaxHeaderBytes = 8192;
constexpr std::chrono::seconds kIdleDeadline{90};  // scrapers come back once a minute or more often
constexpr std::chrono::seconds kWriteDeadline{10};
constexpr std::chrono::seconds kSeeOffDeadline{2};
constexpr int kSeeOffReads = 64;
constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);

Response plain(http::status status, std::string body) {
  Response response(status, 11);
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.body() = std::move(body);
  return response;
}

/// What to answer without looking at the metrics, if so.
std::optional<Response> refusal(const Request& request) {
  const std::string_view target = request.target();
  if (target.substr(0, target.find('?')) != "/metrics") {
    return plain(http::status::not_found, "there is only /metrics here\n");
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    Response response = plain(http::status::method_not_allowed, "/metrics can only be read: GET or HEAD\n");
    response.set(http::field::allow, "GET, HEAD");
    return response;
  }
  return std::nullopt;
}

Response metrics_response(std::optional<std::string> text) {
  if (!text) {
    return plain(http::status::service_unavailable, "the daemon is stopping\n");
  }
  Response response = plain(http::status::ok, *std::move(text));
  response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
  return response;
}

/// Sends it; false: the connection is of no more use.
asio::awaitable<bool> write(Stream& stream, Response response, bool head_only) {
  response.prepare_payload();
  http::response_serializer<http::string_body> serializer(response);
  stream.expires_after(kWriteDeadline);
  const auto [error, n] = head_only ? co_await http::async_write_header(stream, serializer, kQuietly)
                                    : co_await http::async_write(stream, serializer, kQuietly);
  co_return !error && response.keep_alive();
}

/// Ends a connection whose client may still be sending: closed at once, it would hardly read our answer.
asio::awaitable<void> see_off(Stream& stream) {
  beast::error_code ignored;
  stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  stream.expires_after(kSeeOffDeadline);
  std::array<char, 4096> discarded{};
  for (int reads = 0; reads < kSeeOffReads; ++reads) {
    const auto [error, n] = co_await stream.async_read_some(asio::buffer(discarded), kQuietly);
    if (error) {
      co_return;
    }
  }
}

asio::awaitable<void> turn_away(Stream stream) {
  Response response =
      plain(http::status::service_unavailable,
            "as many connections are open here as there may be (" + std::to_string(kMaxConnections) + ")\n");
  response.keep_alive(false);
  co_await write(stream, std::move(response), /*head_only=*/false);
}

/// The answer to what cannot be parsed, if its sender is there to read it.
std::optional<Response> complaint(const beast::error_code& error) {
  if (error == http::error::header_limit) {
    return plain(http::status::request_header_fields_too_large,
                 "a request's header may have " + std::to_string(kMaxHeaderBytes) + " bytes\n");
  }
  if (error.category() == make_error_code(http::error::end_of_stream).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return plain(http::status::bad_request, "not an HTTP/1.1 request: " + error.message() + "\n");
  }
  return std::nullopt;
}

}  // namespace

MetricsEndpoint::MetricsEndpoint(asio::io_context& io, std::unique_ptr<UnixListener> listener, Scrape scrape)
    : io_(io), listener_(std::move(listener)), scrape_(std::move(scrape)), slots_(std::make_shared<char>()) {}

void MetricsEndpoint::start() {
  const auto take = [this](Socket socket) {
    if (slots_.use_count() > kMaxConnections) {
      asio::co_spawn(io_, turn_away(Stream(std::move(socket))), asio::detached);
    } else {
      asio::co_spawn(io_, serve(std::move(socket), slots_), asio::detached);
    }
  };
  asio::co_spawn(io_, listener_->accept_each(take), asio::detached);
}

/// Requests one after another, until the client or a deadline ends the connection.
asio::awaitable<void> MetricsEndpoint::serve(Socket socket, std::shared_ptr<void> /*slot*/) {
  Stream stream(std::move(socket));
  beast::flat_buffer received;
  while (true) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(kMaxHeaderBytes);
    stream.expires_after(kIdleDeadline);
    const auto [error, n] = co_await http::async_read_header(stream, received, parser, kQuietly);
    if (error) {
      if (std::optional<Response> response = complaint(error)) {
        response->keep_alive(false);
        co_await write(stream, *std::move(response), /*head_only=*/false);
        co_await see_off(stream);
      }
      co_return;
    }
    const Request& request = parser.get();
    std::optional<Response> response = refusal(request);
    if (!response) {
      stream.expires_never();
      response = metrics_response(co_await scraped());
    }
    // A body is of no interest, and where it ends the next request would begin.
    response->keep_alive(request.keep_alive() && parser.is_done());
    if (!co_await write(stream, *std::move(response), request.method() == http::verb::head)) {
      co_return co_await see_off(stream);
    }
  }
}

asio::awaitable<std::optional<std::string>> MetricsEndpoint::scraped() {
  return asio::async_initiate<const asio::use_awaitable_t<>, void(std::optional<std::string>)>(
      [this](auto handler) {
        // std::function wants to copy what it holds.
        auto resume = std::make_shared<decltype(handler)>(std::move(handler));
        scrape_([resume](std::optional<std::string> text) { std::move (*resume)(std::move(text)); });
      },
      asio::use_awaitable);
}

}  // namespace condensed::daemon
