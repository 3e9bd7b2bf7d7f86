#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/asio.hpp>
#include <boost/json.hpp>

namespace condensed::client {

/// Throws ConnectionLost.
boost::asio::local::stream_protocol::socket connected_socket(boost::asio::io_context& io,
                                                             const std::string& socket_path);

/// What stands there in text; empty if nothing does.
std::string_view text_at(const boost::json::object& event, std::string_view key);

/// One line of the daemon's. Throws ConnectionLost for what is no event.
boost::json::object parsed_event(std::string_view line);

/// Throws RequestFailed for an `error` event.
void throw_if_error(const boost::json::object& event);

/// The request as it is sent. user: whose sessions it is about, if it is about any; empty: one's own.
std::string request_line(boost::json::object request, std::int64_t id, const std::string& user);

}  // namespace condensed::client
