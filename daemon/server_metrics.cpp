// The metrics of the server, and the socket they have of their own.

#include "daemon/events.h"
#include "daemon/server.h"

namespace condensed::daemon {

namespace asio = boost::asio;

void Server::open_metrics_endpoint() {
  if (settings_.metrics_socket.empty()) {
    return;
  }
  auto listener =
      std::make_unique<UnixListener>(io_, settings_.metrics_socket, settings_.metrics_socket_permissions());
  metrics_endpoint_.emplace(io_, std::move(listener), [this](MetricsEndpoint::Receive receive) {
    engine_.stat_engine(
        [this, receive = std::move(receive)](std::variant<engine::EngineInfo, engine::Error> result) {
          asio::post(io_, [this, receive, result = std::move(result)] {
            const auto* info = std::get_if<engine::EngineInfo>(&result);
            receive(info == nullptr ? std::nullopt : std::optional(metrics_text(*info)));
          });
        });
  });
}

std::string Server::metrics_text(const engine::EngineInfo& info) {
  return metrics_.text(info, static_cast<std::int64_t>(connections_.size()));
}

}  // namespace condensed::daemon
