#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <boost/json.hpp>

#include "clients/condensectl/commands.h"

namespace CLI {
class App;
}

namespace condensed::bench {

/// Flags of scenarios that open sessions and generate on them.
struct StreamFlags {
  std::int64_t sessions = 1;
  std::optional<std::int64_t> tokens;  // of each generation
  std::int64_t warmup_tokens = 0;      // of each session
  std::string prompt;
  ctl::SessionFlags session;
  ctl::GenerateFlags sampling;

  void add_to(CLI::App& command);
  /// Those of them that say what sessions are like and how tokens are drawn.
  void add_session_flags(CLI::App& command);
  /// Fields of `open`.
  boost::json::object open_fields() const;
  /// Fields of `generate`, the seed being that of a session's number. max_tokens: absent: endless. Throws
  /// std::invalid_argument for a bad logit bias.
  boost::json::object generate_fields(std::uint64_t seed, std::optional<std::int64_t> max_tokens) const;
  /// For the report. Throws as generate_fields() does.
  boost::json::object settings() const;
  boost::json::object session_settings() const;
};

}  // namespace condensed::bench
