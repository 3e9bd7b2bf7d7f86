// What the server does about the device that its model is on.

#include <spdlog/spdlog.h>

#include "daemon/server.h"

namespace condensed::daemon {

namespace asio = boost::asio;

/// What the settings say, where the model is, and whom the engine tells. Also for a reload.
engine::EngineOptions Server::engine_options() {
  engine::EngineOptions options = daemon::engine_options(settings_, start_.placement);
  options.observer = &metrics_;
  options.warn = [](const std::string& warning) { spdlog::warn("{}", warning); };
  // The watchdog sees what the engine's thread does, not this one.
  options.heartbeat = [this] { start_.notifier.alive(); };
  options.heartbeat_interval = ServiceNotifier::watchdog_interval();
  // On the engine's thread: with settings and a placement of its own.
  options.remake_backend = [this, settings = settings_, placement = start_.placement](bool last) mutable {
    const bool moves =
        last && fall_back(settings, placement, "the device failed and could not be used again");
    auto backend = make_backend(settings, placement);
    if (moves) {
      asio::post(io_, [this, placement] { model_moved(placement); });
    }
    spdlog::warn("computing {} from now on", placement.reason);
    return backend;
  };
  options.given_up = [this](const std::string& why) { asio::post(io_, [this, why] { device_gone(why); }); };
  options.went_back = [this](const engine::SessionId& session) {
    asio::post(io_, [this, session] { streams_.went_back(session); });
  };
  return options;
}

void Server::model_moved(const Placement& placement) {
  start_.placement = placement;
  engine_.set_limits(engine_options());
}

void Server::device_gone(const std::string& why) {
  spdlog::error("stopping: the device failed and could not be used again: {}", why);
  device_gone_ = true;
  if (!stopping_) {
    shut_down();
  }
}

}  // namespace condensed::daemon
