#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clients/condensectl/terminal.h"
#include "clients/cpp/client.h"

namespace condensed::ctl {

/// What the commands that generate have in common, as the protocol names it. Absent: the daemon's default.
struct GenerateFlags {
  std::optional<std::int64_t> max_tokens;
  bool ignore_eos = false;
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<std::int64_t> penalty_window;
  std::optional<std::int64_t> seed;
  std::vector<std::string> stop;
  std::vector<std::string> logit_bias;  // "ID=X"
  std::optional<std::int64_t> logprobs;
};

struct SessionFlags {
  std::string session;  // empty: a new one, closed at the end unless `keep`
  std::optional<std::int64_t> sinks;
  std::optional<std::int64_t> window;
  bool keep = false;
};

/// The `generate` request for a session. Throws std::invalid_argument for a logit bias that is no ID=X.
boost::json::object generate_request(const std::string& session, const GenerateFlags& flags);
/// The `open` request.
boost::json::object open_request(const SessionFlags& flags);

/// Each returns the exit code. They throw client::RequestFailed, client::ConnectionLost and OutputClosed.
int run_generate(client::Client& client, Terminal& terminal, const SessionFlags& session,
                 const GenerateFlags& flags, const std::optional<std::string>& prompt);
int run_append(client::Client& client, Terminal& terminal, const SessionFlags& session,
               const std::optional<std::string>& text);
int run_chat(client::Client& client, Terminal& terminal, const SessionFlags& session,
             const GenerateFlags& flags, const std::string& line_template);
int run_attach(client::Client& client, Terminal& terminal, const std::string& session);
int run_sessions(client::Client& client, Terminal& terminal);
int run_stat(client::Client& client, Terminal& terminal, const std::string& session);
int run_close(client::Client& client, Terminal& terminal, const std::string& session);
int run_ping(client::Client& client, Terminal& terminal);

/// Adds text to a session, in as many appends as its length needs. Returns the stream's position.
std::int64_t append_text(client::Client& client, const std::string& session, std::string_view text);

}  // namespace condensed::ctl
