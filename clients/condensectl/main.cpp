// condensectl: the command-line client.

#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>

#include "clients/condensectl/commands.h"

namespace {

using condensed::client::Client;
using namespace condensed::ctl;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kNotConnected = 3;

struct Options {
  std::string socket = "/run/condensed/condensed.sock";
  bool json = false;
  bool verbose = false;
  SessionFlags session;
  GenerateFlags generate;
  std::optional<std::string> text;
  std::string line_template = "{}\n";
  bool detach = false;
  std::optional<std::int64_t> from_position;
  TopFlags top;
};

using Run = std::function<int(Context&)>;

void add_session_flags(CLI::App& command, SessionFlags& flags) {
  command.add_option("--session", flags.session, "Session to use; opened if it does not exist");
  command.add_option("--sinks", flags.sinks, "Attention sinks of a new session");
  command.add_option("--window", flags.window, "Window of a new session, in tokens");
}

void add_generate_flags(CLI::App& command, GenerateFlags& flags) {
  command.add_option("--max-tokens", flags.max_tokens, "Tokens to generate; without it, endless");
  command.add_flag("--ignore-eos", flags.ignore_eos, "Go on past the end-of-sequence token");
  command.add_option("--temperature", flags.temperature, "0 is greedy");
  command.add_option("--top-k", flags.top_k, "Keep the k likeliest tokens");
  command.add_option("--top-p", flags.top_p, "Keep the likeliest tokens that together reach p");
  command.add_option("--min-p", flags.min_p,
                     "Keep tokens at least this many times as likely as the likeliest");
  command.add_option("--repetition-penalty", flags.repetition_penalty,
                     "Above 1: seen tokens become less likely");
  command.add_option("--presence-penalty", flags.presence_penalty,
                     "Subtracted from the logit of a seen token");
  command.add_option("--frequency-penalty", flags.frequency_penalty, "Subtracted for each time it was seen");
  command.add_option("--penalty-window", flags.penalty_window, "How many of the latest tokens count as seen");
  command.add_option("--seed", flags.seed, "The same seed gives the same text");
  command.add_option("--stop", flags.stop, "End before this text; may be given several times")
      ->allow_extra_args(false);
  command.add_option("--logit-bias", flags.logit_bias, "ID=NUMBER; may be given several times")
      ->allow_extra_args(false);
  command.add_option("--logprobs", flags.logprobs,
                     "With --json: log-probabilities and this many alternatives");
}

/// Adds every command; the one given sets `run`.
void add_commands(CLI::App& app, Options& options, Run& run) {
  const auto command = [&](const char* name, const char* description, Run action) {
    CLI::App* added = app.add_subcommand(name, description);
    added->callback([&run, action = std::move(action)] { run = action; });
    return added;
  };
  CLI::App* generate = command("generate", "Generate text and print it as it comes", [&](Context& context) {
    return options.detach ? run_generate_detached(context, options.session, options.generate, options.text)
                          : run_generate(context, options.session, options.generate, options.text);
  });
  add_session_flags(*generate, options.session);
  add_generate_flags(*generate, options.generate);
  generate->add_option("--prompt", options.text,
                       "Text to go on from; without it, standard input if that is a pipe");
  generate->add_flag("--keep", options.session.keep, "Do not close a session that was opened without a name");
  generate->add_flag("--detach", options.detach,
                     "Start it, print the session's name and leave; it goes on until `cancel`");

  CLI::App* append = command("append", "Add text to a session", [&](Context& context) {
    return run_append(context, options.session, options.text);
  });
  add_session_flags(*append, options.session);
  append->get_option("--session")->required();
  append->add_option("text", options.text, "The text; without it, standard input");

  CLI::App* chat =
      command("chat", "Answer each line of standard input, in one session", [&](Context& context) {
        if (!options.generate.max_tokens) {
          options.generate.max_tokens = 200;
        }
        return run_chat(context, options.session, options.generate, options.line_template);
      });
  add_session_flags(*chat, options.session);
  add_generate_flags(*chat, options.generate);
  chat->add_flag("--keep", options.session.keep, "Do not close a session that was opened without a name");
  chat->add_option("--template", options.line_template, "What a line {} becomes in the stream")
      ->check([](const std::string& text) {
        return text.find("{}") == std::string::npos ? "it must contain {}" : std::string();
      });

  const auto named = [&](CLI::App* added, bool required) {
    added->add_option("session", options.session.session, "Name of the session")->required(required);
  };
  CLI::App* attach = command("attach", "Watch a session's generation", [&](Context& context) {
    return run_attach(context, options.session.session, options.from_position);
  });
  named(attach, true);
  attach->add_option("--from", options.from_position,
                     "Begin with what the daemon keeps from this position on; ends where nothing more comes");
  command("sessions", "List the sessions", [](Context& context) { return run_sessions(context); });
  named(command("stat", "Show the state of a session, or of the daemon",
                [&](Context& context) { return run_stat(context, options.session.session); }),
        false);
  named(command("cancel", "End a session's generation; the session stays",
                [&](Context& context) { return run_cancel(context, options.session.session); }),
        true);
  named(command("close", "Close a session",
                [&](Context& context) { return run_close(context, options.session.session); }),
        true);
  command("ping", "Ask whether the daemon is there", [](Context& context) { return run_ping(context); });
  command("metrics", "Print the daemon's metrics in Prometheus' text format",
          [](Context& context) { return run_metrics(context); });
  CLI::App* top = command("top", "Watch the daemon and its sessions; Ctrl-C ends it",
                          [&](Context& context) { return run_top(context, options.top); });
  top->add_option("--interval", options.top.interval_s, "Seconds between two frames, and that rates are of")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  top->add_flag("--once", options.top.once,
                "Print one frame after one interval, as when output is no terminal");
}

std::string described(const condensed::client::RequestFailed& error) {
  std::string text = error.code() + ": " + error.what();
  if (!error.limit().empty()) {
    text += " [limit " + error.limit() + "]";
  }
  if (const auto wait = error.retry_after()) {
    text += " [try again in " + std::to_string(wait->count()) + " ms]";
  }
  return text;
}

int connect_and_run(const Options& options, const Run& run) {
  Terminal terminal(options.json, options.verbose);
  const auto failed = [](const std::string& message, int exit_code) {
    std::cerr << "condensectl: " << message << std::endl;
    return exit_code;
  };
  try {
    Client client(options.socket);
    client.observe([&](const Client::Event& event) { terminal.event(event); });
    Interrupt interrupt(client);
    Input input(client);
    Context context{client, terminal, interrupt, input};
    return run(context);
  } catch (const Interrupted&) {
    return kInterruptedExit;
  } catch (const condensed::client::RequestFailed& error) {
    return failed(described(error), kFailed);
  } catch (const condensed::client::ConnectionLost& error) {
    return failed(error.what(), kNotConnected);
  } catch (const std::invalid_argument& error) {
    return failed(error.what(), kUsage);
  } catch (const std::exception& error) {
    return failed(error.what(), kFailed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  Options options;
  if (const char* socket = std::getenv("CONDENSED_SOCKET"); socket != nullptr && *socket != '\0') {
    options.socket = socket;
  }
  CLI::App app(
      "Talk to a condensed daemon.\n"
      "Exit codes: 0 done, 1 the daemon refused, or input or output failed, 2 usage, 3 no connection,\n"
      "130 cancelled by a signal.",
      "condensectl");
  app.set_version_flag("--version", "condensed " CONDENSED_VERSION);
  app.add_option("--socket", options.socket, "The daemon's socket; default: $CONDENSED_SOCKET")
      ->capture_default_str();
  app.add_flag("--json", options.json, "Print every event as a line of JSON");
  app.add_flag("--verbose", options.verbose, "Print a summary even if standard error is no terminal");
  app.require_subcommand(1);
  app.fallthrough();
  Run run;
  add_commands(app, options, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return connect_and_run(options, run);
}
