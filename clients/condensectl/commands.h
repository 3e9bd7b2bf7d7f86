#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clients/condensectl/input.h"
#include "clients/condensectl/interrupt.h"
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
  std::optional<double> account_above_ms;
  bool resume = false;  // the generation that was interrupted, with the options it began with
};

struct SessionFlags {
  std::string session;  // empty: a new one, closed at the end unless `keep`
  std::optional<std::int64_t> sinks;
  std::optional<std::int64_t> window;
  bool keep = false;
};

struct TopFlags {
  double interval_s = 1;  // between two looks at the daemon
  bool once = false;      // one frame, then the end
};

/// What a command works with.
struct Context {
  client::Client& client;
  Terminal& terminal;
  Interrupt& interrupt;
  Input& input;
};

/// Each returns the exit code. They throw client::RequestFailed, client::ConnectionLost, Interrupted,
/// std::runtime_error for files and standard streams, and std::invalid_argument for a flag's bad value.
int run_generate(Context& context, const SessionFlags& session, const GenerateFlags& flags,
                 const std::optional<std::string>& prompt);
/// Starts it, prints the session's name and leaves.
int run_generate_detached(Context& context, SessionFlags session, const GenerateFlags& flags,
                          const std::optional<std::string>& prompt);
/// Goes on with a generation that was interrupted; detached: starts it, prints the session's name and leaves.
int run_resume(Context& context, const std::string& session, bool detached);
int run_append(Context& context, const SessionFlags& session, const std::optional<std::string>& text);
int run_chat(Context& context, const SessionFlags& session, const GenerateFlags& flags,
             const std::string& line_template);
/// With a position: what is kept from there on first, and only that if nothing is being generated.
int run_attach(Context& context, const std::string& session, std::optional<std::int64_t> from_position);
/// show_users: the sessions are of several.
int run_sessions(Context& context, bool show_users);
int run_stat(Context& context, const std::string& session);
int run_cancel(Context& context, const std::string& session);
int run_close(Context& context, const std::string& session);
int run_save(Context& context, const std::string& session);
/// as: the copy's name; empty: the daemon chooses.
int run_fork(Context& context, const std::string& session, const std::string& as);
int run_rename(Context& context, const std::string& session, const std::string& to);
int run_undo(Context& context, const std::string& session, std::int64_t tokens);
/// path: "-" for standard output.
int run_export(Context& context, const std::string& session, const std::string& path);
/// path: "-" for standard input. session: empty: the daemon chooses.
int run_import(Context& context, const std::string& path, const std::string& session);
int run_ping(Context& context);
int run_metrics(Context& context);
int run_top(Context& context, const TopFlags& flags);

}  // namespace condensed::ctl
