// condensed: the daemon. Exit codes: 0 stopped cleanly, 1 could not start, 2 usage or configuration, 3 its
// device failed for good.

#include <csignal>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include "daemon/descriptor_limit.h"
#include "daemon/inherited_sockets.h"
#include "daemon/journal_sink.h"
#include "daemon/model_loading.h"
#include "daemon/server.h"
#include "daemon/service_notifier.h"
#include "daemon/settings.h"
#include "engine/input_error.h"

namespace {

using condensed::daemon::InheritedSockets;
using condensed::daemon::JournalSink;
using condensed::daemon::Patience;
using condensed::daemon::ServiceNotifier;
using condensed::daemon::Settings;
using condensed::engine::InputError;

constexpr int kStartFailed = 1;
constexpr int kUsage = 2;
constexpr int kDeviceFailed = 3;

struct CommandLine {
  std::string config_file;
  bool check_only = false;
  std::map<std::string_view, std::string> flags;  // setting key → its text
};

void add_options(CLI::App& app, CommandLine& line) {
  app.set_version_flag("--version", "condensed " CONDENSED_VERSION);
  app.add_option("--config", line.config_file, "TOML file; flags win over it");
  app.add_flag("--check", line.check_only, "Check the configuration and the model, then exit");
  for (const auto& setting : condensed::daemon::all_settings()) {
    app.add_option(setting.flag(), line.flags[setting.key], std::string(setting.description));
  }
}

/// Throws InputError.
Settings make_settings(const CLI::App& app, const CommandLine& line) {
  Settings settings;
  if (!line.config_file.empty()) {
    condensed::daemon::apply_config_file(settings, line.config_file);
  }
  for (const auto& setting : condensed::daemon::all_settings()) {
    if (app.count(setting.flag()) == 0) {
      continue;
    }
    try {
      condensed::daemon::set_from_text(settings, setting, line.flags.at(setting.key));
    } catch (const InputError& error) {
      throw InputError(setting.flag() + ": " + error.what());
    }
  }
  if (settings.model.empty()) {
    throw InputError("no model is given; set model in the configuration file, or --model DIR");
  }
  if (settings.sinks + settings.window > settings.max_window) {
    throw InputError("sinks and window together exceed max_window (" + std::to_string(settings.max_window) +
                     ")");
  }
  return settings;
}

/// False: it ended because its device failed for good.
bool serve(const Settings& settings, InheritedSockets sockets, const ServiceNotifier& notifier,
           std::function<Settings()> read_settings) {
  // A client that goes away is an error code of write(), not the end of the daemon; neither is a request to
  // reload before there is anything to reload.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is a snapshot that failed
  std::signal(SIGHUP, SIG_IGN);
  std::optional<Patience> patience(std::in_place, notifier);
  notifier.status("Loading " + settings.model);
  condensed::daemon::Placement placement;
  auto model = condensed::daemon::load_model(settings, placement);
  condensed::daemon::Server server(settings, std::move(model),
                                   {.sockets = sockets,
                                    .notifier = notifier,
                                    .read_settings = std::move(read_settings),
                                    .placement = std::move(placement)});
  for (const std::string& name : sockets.names()) {
    spdlog::warn("the inherited socket {} is not used; sockets are known as {} and {}", name,
                 InheritedSockets::kProtocol, InheritedSockets::kMetrics);
  }
  patience.reset();
  if (const auto fit = condensed::daemon::provide_descriptors(settings.max_connections);
      fit < settings.max_connections) {
    spdlog::warn("the limit of open files has room for {} connections only, not for {} (max_connections)",
                 fit, settings.max_connections);
  }
  const bool asked_to = server.run();
  spdlog::info("stopped");
  return asked_to;
}

int failed(const ServiceNotifier& notifier, const std::string& message, int exit_code) {
  notifier.status("Could not start: " + message);
  if (JournalSink::leads_to_journal(STDERR_FILENO)) {
    spdlog::error("{}", message);
  } else {
    std::cerr << "condensed: " << message << std::endl;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Run a language model on streams without end.\n"
      "Exit codes: 0 stopped cleanly, 1 could not start, 2 usage or configuration, 3 its device failed for "
      "good.",
      "condensed");
  CommandLine line;
  add_options(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  condensed::daemon::start_logging();
  const ServiceNotifier notifier;
  std::optional<Settings> settings;
  try {
    settings = make_settings(app, line);
  } catch (const std::exception& error) {
    return failed(notifier, error.what(), kUsage);
  }
  spdlog::set_level(spdlog::level::from_str(settings->log_level));
  try {
    if (line.check_only) {
      condensed::daemon::Placement placement;
      condensed::daemon::load_model(*settings, placement);
    } else {
      const bool asked_to = serve(*settings, InheritedSockets::from_environment(), notifier,
                                  [&app, &line] { return make_settings(app, line); });
      return asked_to ? 0 : kDeviceFailed;
    }
    return 0;
  } catch (const std::exception& error) {
    return failed(notifier, error.what(), kStartFailed);
  }
}
