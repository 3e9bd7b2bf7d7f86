#include "clients/bench/stream_flags.h"

#include <limits>

#include <CLI/CLI.hpp>

#include "clients/condensectl/flags.h"
#include "clients/condensectl/generation.h"

namespace condensed::bench {

namespace json = boost::json;

void StreamFlags::add_to(CLI::App& command) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  command.add_option("--sessions", sessions, "Sessions at once, each on a connection of its own")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  command.add_option("--tokens", tokens, "Tokens of each generation; without it, endless")
      ->check(CLI::Range(std::int64_t{1}, kMost));
  command.add_option("--warmup-tokens", warmup_tokens, "Tokens of each session before anything is counted")
      ->check(CLI::Range(std::int64_t{0}, kMost))
      ->capture_default_str();
  command.add_option("--prompt", prompt, "Text that each session begins with");
  add_session_flags(command);
}

void StreamFlags::add_session_flags(CLI::App& command) {
  command.add_option("--sinks", session.sinks, "Attention sinks of the sessions");
  command.add_option("--window", session.window, "Window of the sessions, in tokens");
  ctl::add_sampling_flags(command, sampling);
}

json::object StreamFlags::open_fields() const {
  json::object fields;
  if (session.sinks) {
    fields["sinks"] = *session.sinks;
  }
  if (session.window) {
    fields["window"] = *session.window;
  }
  if (!prompt.empty()) {
    fields["text"] = prompt;
  }
  return fields;
}

json::object StreamFlags::generate_fields(std::uint64_t seed, std::optional<std::int64_t> max_tokens) const {
  ctl::GenerateFlags flags = sampling;
  flags.seed = static_cast<std::int64_t>(seed & static_cast<std::uint64_t>(INT64_MAX));
  flags.max_tokens = max_tokens;
  flags.ignore_eos = true;  // so that a run has the tokens that it was asked for
  json::object fields = ctl::generate_request("", flags);
  fields.erase("session");
  return fields;
}

json::object StreamFlags::session_settings() const {
  json::object all = open_fields();
  for (auto& [key, value] : generate_fields(0, tokens)) {
    if (key != "seed" && key != "max_tokens" && key != "ignore_eos") {
      all[key] = value;
    }
  }
  return all;
}

json::object StreamFlags::settings() const {
  json::object all = session_settings();
  all["sessions"] = sessions;
  all["tokens"] = tokens ? json::value(*tokens) : json::value();
  all["warmup_tokens"] = warmup_tokens;
  return all;
}

}  // namespace condensed::bench
