// What the server does for the service manager while it serves: reading the configuration again, status
// lines.

#include <exception>

#include <spdlog/spdlog.h>

#include "daemon/server.h"

namespace condensed::daemon {

namespace asio = boost::asio;

void Server::reread_settings() {
  if (stopping_) {
    return;
  }
  start_.notifier.reloading();
  try {
    reload(start_.read_settings());
    status_.set_note("");
    spdlog::info("the configuration was read again");
  } catch (const std::exception& error) {
    spdlog::error("the configuration stays as it was: {}", error.what());
    status_.set_note(std::string("; the configuration was not reloaded: ") + error.what());
  }
  start_.notifier.ready(status_.text());
}

/// Puts into force what can change while streams run.
void Server::reload(const Settings& next) {
  for (const Setting& setting : all_settings()) {
    if (!differs(settings_, next, setting)) {
      continue;
    }
    if (!setting.reloadable) {
      spdlog::warn("{} = {} needs a restart; until then {} stays in force", setting.key,
                   text_of(next, setting), text_of(settings_, setting));
      continue;
    }
    spdlog::info("{} = {} from now on, was {}", setting.key, text_of(next, setting),
                 text_of(settings_, setting));
    copy(settings_, next, setting);
  }
  spdlog::set_level(spdlog::level::from_str(settings_.log_level));
  engine_.set_limits(engine_options());
}

void Server::refresh_status() {
  engine_.stat_engine([this](const std::variant<engine::EngineInfo, engine::Error>& result) {
    if (const auto* info = std::get_if<engine::EngineInfo>(&result)) {
      asio::post(io_, [this, sessions = info->sessions, generating = info->generating] {
        status_.show("Serving " + model_name_ + "; connections: " + std::to_string(connections_.size()) +
                     ", sessions: " + std::to_string(sessions) +
                     ", generating: " + std::to_string(generating));
      });
    }
  });
}

}  // namespace condensed::daemon
