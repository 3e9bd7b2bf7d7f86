#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "engine/weight_format.h"

namespace condensed::daemon {

/// Everything that can be configured, with its default.
struct Settings {
  std::string model;
  std::string socket = "/run/condensed/condensed.sock";
  std::string socket_mode = "0660";
  std::string socket_owner;    // empty: the daemon's user
  std::string socket_group;    // empty: the daemon's group
  std::string admin_group;     // empty: none
  std::string metrics_socket;  // empty: none
  std::string metrics_socket_mode = "0666";
  std::int64_t sinks = 4;
  std::int64_t window = 1020;
  std::int64_t max_window = 65536;
  std::int64_t max_sessions = 100'000;
  std::int64_t max_resident_sessions = 1024;
  std::int64_t max_cache_bytes = 0;
  std::string state_dir;  // empty: none
  std::string snapshots = "on_idle";
  std::int64_t hibernate_after_s = 900;
  std::int64_t drain_timeout_ms = 5000;
  std::int64_t max_waiting_input_bytes = 8 << 20;
  std::int64_t max_total_waiting_input_bytes = 256 << 20;
  std::int64_t max_generating = 1024;
  std::int64_t max_batch_tokens = 256;
  std::int64_t threads = 0;
  std::string device = "auto";
  std::string kernels = "auto";
  std::string weights = "stored";
  std::string cache = "f16";
  std::string prefill = "serial";
  std::int64_t prompt_chunk_tokens = 32;
  double prompt_tolerance = 1e-4;
  std::int64_t max_line_bytes = 1 << 20;
  std::int64_t max_connections = 1024;
  std::int64_t max_requests_in_flight = 256;
  std::int64_t send_buffer_bytes = 256 << 10;
  std::int64_t stall_timeout_ms = 60000;
  std::int64_t replay_bytes = 64 << 10;
  std::int64_t max_replay_bytes = 64 << 20;
  std::int64_t max_import_bytes = 256 << 20;
  std::string log_level = "info";

  engine::EngineOptions engine_options() const;
  std::optional<engine::WeightFormat> weight_format() const;
  /// socket_mode as a number.
  unsigned socket_permissions() const;
  unsigned metrics_socket_permissions() const;
};

/// One key of the configuration file and, with dashes for underscores, one flag.
struct Setting {
  using Target = std::variant<std::string Settings::*, std::int64_t Settings::*, double Settings::*>;

  std::string_view key;
  std::string_view description;
  Target target;
  double least = 0;                                         // numbers
  double most = 0;                                          // numbers
  std::function<void(const std::string&)> check = nullptr;  // strings: throws InputError
  bool reloadable = false;                                  // can change while the daemon runs

  std::string flag() const;
  /// Whether any client may see its value: not what paths, users and groups are called.
  bool told_to_clients() const;
};

/// The one list of them.
const std::vector<Setting>& all_settings();

using SettingValue = std::variant<std::string, std::int64_t, double>;

/// Throws InputError, saying what was expected and found, for a value of the wrong type or out of range.
void set(Settings& settings, const Setting& setting, const SettingValue& value);

/// The same from a command line's text.
void set_from_text(Settings& settings, const Setting& setting, const std::string& text);

/// Its value, as TOML shows it.
std::string text_of(const Settings& settings, const Setting& setting);
bool differs(const Settings& a, const Settings& b, const Setting& setting);
/// Copies one of them.
void copy(Settings& to, const Settings& from, const Setting& setting);

/// Applies a TOML file. Throws InputError naming file, line and column for what cannot be parsed, is unknown
/// or does not fit.
void apply_config_file(Settings& settings, const std::string& path);

}  // namespace condensed::daemon
