#include "daemon/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <unistd.h>

#include "engine/input_error.h"
#include "engine/prompt_options.h"
#include "kernels/device_choice.h"

namespace condensed::daemon {

namespace {

using engine::InputError;

std::function<void(const std::string&)> one_of(std::vector<std::string> choices) {
  return [choices = std::move(choices)](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      std::string expected;
      for (const std::string& choice : choices) {
        expected += (expected.empty() ? "" : ", ") + choice;
      }
      throw InputError("expected one of " + expected + ", found \"" + text + "\"");
    }
  };
}

constexpr bool kReloadable = true;

void check_mode(const std::string& text) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > 0777) {
    throw InputError("expected an octal mode such as \"0660\", found \"" + text + "\"");
  }
}

void check_not_empty(const std::string& text) {
  if (text.empty()) {
    throw InputError("expected a path, found an empty string");
  }
}

void check_device(const std::string& text) {
  if (!condensed::kernels::parse_device(text)) {
    throw InputError("expected cpu, cuda, cuda:N or auto, found \"" + text + "\"");
  }
}

void check_snapshots(const std::string& text) {
  engine::parse_snapshot_policy(text);
}

std::size_t half_of_memory_bytes() {
  return static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 2;
}

void check_prefill(const std::string& text) {
  engine::parse_prompt_mode(text);
}

std::string range_text(const Setting& setting) {
  const bool whole = std::holds_alternative<std::int64_t Settings::*>(setting.target);
  std::ostringstream out;
  out << std::fixed;
  out.precision(0);
  out << (whole ? "a whole number from " : "a number from ") << setting.least << " to " << setting.most;
  return out.str();
}

std::string shown(const SettingValue& value) {
  std::ostringstream out;
  if (const auto* text = std::get_if<std::string>(&value)) {
    out << '"' << *text << '"';
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    out << *integer;
  } else {
    out << std::get<double>(value);
  }
  return out.str();
}

}  // namespace

engine::EngineOptions Settings::engine_options() const {
  engine::EngineOptions options;
  options.default_window = {sinks, window};
  options.max_window = max_window;
  options.max_sessions = max_sessions;
  options.max_resident_sessions = max_resident_sessions;
  options.max_cache_bytes =
      max_cache_bytes > 0 ? static_cast<std::size_t>(max_cache_bytes) : half_of_memory_bytes();
  options.max_rescued_bytes = half_of_memory_bytes();
  options.state_dir = state_dir;
  options.snapshots = engine::parse_snapshot_policy(snapshots);
  options.hibernate_after = std::chrono::seconds(hibernate_after_s);
  options.drain = std::chrono::milliseconds(drain_timeout_ms);
  options.max_waiting_input_bytes = static_cast<std::size_t>(max_waiting_input_bytes);
  options.max_total_waiting_input_bytes = static_cast<std::size_t>(max_total_waiting_input_bytes);
  options.max_generating = max_generating;
  options.max_batch_rows = max_batch_tokens;
  options.prompt = engine::parse_prompt_mode(
      prefill, {.chunk_tokens = prompt_chunk_tokens, .tolerance = prompt_tolerance});
  options.cache_dtype = condensed::kernels::dtype_named(cache).value();
  return options;
}

std::optional<engine::WeightFormat> Settings::weight_format() const {
  return engine::parse_weight_format(weights);
}

unsigned Settings::socket_permissions() const {
  return static_cast<unsigned>(std::stoul(socket_mode, nullptr, 8));
}

unsigned Settings::metrics_socket_permissions() const {
  return static_cast<unsigned>(std::stoul(metrics_socket_mode, nullptr, 8));
}

std::string Setting::flag() const {
  std::string out = "--" + std::string(key);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

bool Setting::told_to_clients() const {
  constexpr std::array<std::string_view, 9> kNotTold{
      "model",       "socket",         "socket_mode",         "socket_owner", "socket_group",
      "admin_group", "metrics_socket", "metrics_socket_mode", "state_dir"};
  return std::find(kNotTold.begin(), kNotTold.end(), key) == kNotTold.end();
}

const std::vector<Setting>& all_settings() {
  static const std::vector<Setting> settings{
      {"model", "Model folder in the Hugging Face layout", &Settings::model, 0, 0, check_not_empty},
      {"socket", "Path of the Unix socket", &Settings::socket, 0, 0, check_not_empty},
      {"socket_mode", "Permissions of the socket, octal", &Settings::socket_mode, 0, 0, check_mode},
      {"socket_owner", "User that owns the socket, name or number; empty: the daemon's",
       &Settings::socket_owner},
      {"socket_group", "Group of the socket, name or number; empty: the daemon's", &Settings::socket_group},
      {"admin_group", "Group whose members may use everybody's sessions, as root may; empty: none",
       &Settings::admin_group},
      {"metrics_socket", "Path of a Unix socket that answers HTTP's GET /metrics; empty: none",
       &Settings::metrics_socket},
      {"metrics_socket_mode", "Permissions of that socket, octal", &Settings::metrics_socket_mode, 0, 0,
       check_mode},
      {"sinks", "Attention sinks of a session that does not say", &Settings::sinks, 0, 1 << 20},
      {"window", "Window of a session that does not say, in tokens", &Settings::window, 1, 1 << 30},
      {"max_window", "Most sinks and window a session may ask for, together", &Settings::max_window, 1,
       1 << 30, nullptr, kReloadable},
      {"max_sessions", "Most sessions, those asleep included", &Settings::max_sessions, 1, 1 << 24, nullptr,
       kReloadable},
      {"max_resident_sessions", "Most sessions in memory; beyond, the least recently used one goes to sleep",
       &Settings::max_resident_sessions, 1, 1 << 24, nullptr, kReloadable},
      {"max_cache_bytes",
       "Most memory for the caches of sessions; 0: half of the machine's, or what a device has left",
       &Settings::max_cache_bytes, 0, 1LL << 50, nullptr, kReloadable},
      {"state_dir", "Folder where sessions are kept; empty: they live in memory only", &Settings::state_dir},
      {"snapshots", "When sessions are saved: never, or on_idle[=MS], every_tokens=N, on_append with commas",
       &Settings::snapshots, 0, 0, check_snapshots, kReloadable},
      {"hibernate_after_s", "Rest after which a session goes to sleep on disk; 0: only when memory is short",
       &Settings::hibernate_after_s, 0, 1LL << 32, nullptr, kReloadable},
      {"drain_timeout_ms", "When stopping: time for input that waits and generations that end by themselves",
       &Settings::drain_timeout_ms, 0, 86'400'000, nullptr, kReloadable},
      {"max_waiting_input_bytes", "Most input that may wait on one session",
       &Settings::max_waiting_input_bytes, 1024, 1 << 30, nullptr, kReloadable},
      {"max_total_waiting_input_bytes", "Most input that may wait on all sessions together",
       &Settings::max_total_waiting_input_bytes, 1024, 1LL << 40},
      {"max_generating", "Most generations at once", &Settings::max_generating, 1, 1 << 24, nullptr,
       kReloadable},
      {"max_batch_tokens", "Most tokens in one step, all sessions together", &Settings::max_batch_tokens, 1,
       65536},
      {"threads", "Threads that compute; 0: one per processor", &Settings::threads, 0, 1024},
      {"device", "Where the model is computed: cpu, cuda, cuda:N, or auto (cuda if it can be used)",
       &Settings::device, 0, 0, check_device},
      {"kernels", "Of the processor: auto, avx512vnni, avx512, avx2, neondot, neon or reference",
       &Settings::kernels, 0, 0,
       one_of({"auto", "avx512vnni", "avx512", "avx2", "neondot", "neon", "reference"})},
      {"weights", "stored (as the checkpoint has them), bf16, f16, q8 or q4", &Settings::weights, 0, 0,
       one_of({"stored", "bf16", "f16", "q8", "q4"})},
      {"cache", "f32, bf16, f16 or q8: numbers of cached keys and values", &Settings::cache, 0, 0,
       one_of({"f32", "bf16", "f16", "q8"})},
      {"prefill", "How prompts are read: auto, serial, adaptive or passes=N", &Settings::prefill, 0, 0,
       check_prefill},
      {"prompt_chunk_tokens", "Most tokens of a prompt read at once", &Settings::prompt_chunk_tokens, 1,
       65536},
      {"prompt_tolerance", "auto, adaptive: largest change of a key or value that counts as none",
       &Settings::prompt_tolerance, 0, 1000},
      {"max_line_bytes", "Longest request", &Settings::max_line_bytes, 1024, 1 << 30, nullptr, kReloadable},
      {"max_connections", "Most connections at once", &Settings::max_connections, 1, 1 << 20, nullptr,
       kReloadable},
      {"max_requests_in_flight", "Most unanswered requests of one connection",
       &Settings::max_requests_in_flight, 1, 1 << 20, nullptr, kReloadable},
      {"send_buffer_bytes", "Unsent output of a connection at which its streams rest",
       &Settings::send_buffer_bytes, 1024, 1 << 30, nullptr, kReloadable},
      {"stall_timeout_ms", "When a connection that takes no byte of its output is cut off; 0: never",
       &Settings::stall_timeout_ms, 0, 86'400'000, nullptr, kReloadable},
      {"replay_bytes", "Latest events of a session that are kept for clients that come back; 0: none",
       &Settings::replay_bytes, 0, 1 << 30},
      {"max_replay_bytes", "Most bytes of kept events, all sessions together", &Settings::max_replay_bytes, 0,
       1LL << 40},
      {"max_import_bytes", "Most bytes of exported sessions under way to the daemon, all clients together",
       &Settings::max_import_bytes, 1024, 1LL << 40},
      {"log_level", "debug, info, warn or error", &Settings::log_level, 0, 0,
       one_of({"debug", "info", "warn", "error"}), kReloadable},
  };
  return settings;
}

void set(Settings& settings, const Setting& setting, const SettingValue& value) {
  if (const auto* target = std::get_if<std::string Settings::*>(&setting.target)) {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) {
      throw InputError("expected a string, found " + shown(value));
    }
    if (setting.check) {
      setting.check(*text);
    }
    settings.*(*target) = *text;
    return;
  }
  const auto* integer = std::get_if<std::int64_t>(&value);
  const auto* real = std::get_if<double>(&value);
  const auto* real_target = std::get_if<double Settings::*>(&setting.target);
  const double number = integer != nullptr ? static_cast<double>(*integer) : real != nullptr ? *real : -1;
  const bool fits = integer != nullptr || (real != nullptr && real_target != nullptr);
  if (!fits || !(number >= setting.least && number <= setting.most)) {
    throw InputError("expected " + range_text(setting) + ", found " + shown(value));
  }
  if (real_target != nullptr) {
    settings.*(*real_target) = number;
  } else {
    settings.*(std::get<std::int64_t Settings::*>(setting.target)) = *integer;
  }
}

std::string text_of(const Settings& settings, const Setting& setting) {
  return std::visit([&](auto member) { return shown(settings.*member); }, setting.target);
}

bool differs(const Settings& a, const Settings& b, const Setting& setting) {
  return std::visit([&](auto member) { return a.*member != b.*member; }, setting.target);
}

void copy(Settings& to, const Settings& from, const Setting& setting) {
  std::visit([&](auto member) { to.*member = from.*member; }, setting.target);
}

void set_from_text(Settings& settings, const Setting& setting, const std::string& text) {
  const char* end = text.data() + text.size();
  if (std::holds_alternative<std::string Settings::*>(setting.target)) {
    return set(settings, setting, text);
  }
  std::int64_t integer = 0;
  if (const auto [to, error] = std::from_chars(text.data(), end, integer);
      error == std::errc() && to == end) {
    return set(settings, setting, integer);
  }
  double real = 0;
  if (const auto [to, error] = std::from_chars(text.data(), end, real); error == std::errc() && to == end) {
    return set(settings, setting, real);
  }
  set(settings, setting, text);
}

}  // namespace condensed::daemon
