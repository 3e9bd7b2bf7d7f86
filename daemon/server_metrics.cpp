// The metrics of the server, and the socket they have of their own.

#include "daemon/events.h"
#include "daemon/server.h"

namespace condensed::daemon {

namespace asio = boost::asio;

/// Called before there is an engine, which is asked only when somebody scrapes.
std::unique_ptr<MetricsEndpoint> Server::make_metrics_endpoint() {
  std::unique_ptr<UnixListener> listener;
  if (const std::optional<int> inherited = start_.sockets.take(InheritedSockets::kMetrics)) {
    listener = std::make_unique<UnixListener>(io_, *inherited);
  } else if (!settings_.metrics_socket.empty()) {
    listener =
        std::make_unique<UnixListener>(io_, settings_.metrics_socket, settings_.metrics_socket_permissions());
  } else {
    return nullptr;
  }
  metrics_path_ = listener->path();
  auto scrape = [this](MetricsEndpoint::Receive receive) {
    engine_.stat_engine([this, receive = std::move(receive)](auto result) {
      asio::post(io_, [this, receive, result = std::move(result)] {
        const auto* info = std::get_if<engine::EngineInfo>(&result);
        receive(info == nullptr ? std::nullopt : std::optional(metrics_text(*info)));
      });
    });
  };
  return std::make_unique<MetricsEndpoint>(io_, std::move(listener), std::move(scrape));
}

std::string Server::metrics_text(const engine::EngineInfo& info) {
  return metrics_.text(info, static_cast<std::int64_t>(connections_.size()));
}

}  // namespace condensed::daemon
