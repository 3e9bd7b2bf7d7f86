// condensectl: the command-line client.

#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "clients/bench/bench_command.h"
#include "clients/bench/compare_command.h"
#include "clients/condensectl/commands.h"
#include "clients/condensectl/flags.h"

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
  std::string user;  // whose sessions; empty: one's own
  SessionFlags session;
  GenerateFlags generate;
  std::optional<std::string> text;
  std::string line_template = "{}\n";
  bool detach = false;
  std::optional<std::int64_t> from_position;
  TopFlags top;
  std::string new_name;
  std::int64_t tokens = 0;
  std::string file;
};

constexpr const char* kEverybody = "*";

using Run = std::function<int(Context&)>;
using RunWithoutDaemon = std::function<int()>;

void add_session_flags(CLI::App& command, SessionFlags& flags) {
  command.add_option("--session", flags.session, "Session to use; opened if it does not exist");
  command.add_option("--sinks", flags.sinks, "Attention sinks of a new session");
  command.add_option("--window", flags.window, "Window of a new session, in tokens");
}

void add_generate_flags(CLI::App& command, GenerateFlags& flags) {
  command.add_option("--max-tokens", flags.max_tokens, "Tokens to generate; without it, endless");
  command.add_flag("--ignore-eos", flags.ignore_eos, "Go on past the end-of-sequence token");
  add_sampling_flags(command, flags);
  command.add_option("--seed", flags.seed, "The same seed gives the same text");
  command.add_option("--account-above-ms", flags.account_above_ms,
                     "With --json: where the time went, for tokens slower than this");
  command.add_option("--stop", flags.stop, "End before this text; may be given several times")
      ->allow_extra_args(false);
}

/// Adds commands; the one given sets `run` or `run_without_daemon`.
class Commands {
 public:
  Commands(CLI::App& app, Options& options, Run& run, RunWithoutDaemon& run_without_daemon)
      : app_(app), options_(options), run_(run), run_without_daemon_(run_without_daemon) {}

  void add_all() {
    add_generate();
    add_append_and_chat();
    add_attach();
    add_state();
    add_keeping();
    add_daemon();
    add_bench();
  }

 private:
  CLI::App* add(const char* name, const char* description, Run action) {
    CLI::App* added = app_.add_subcommand(name, description);
    added->callback([this, action = std::move(action)] { run_ = action; });
    return added;
  }
  /// One that is about the session of this name.
  CLI::App* add_named(const char* name, const char* description, Run action, bool required = true) {
    CLI::App* added = add(name, description, std::move(action));
    added->add_option("session", options_.session.session, "Name of the session")->required(required);
    return added;
  }

  void add_generate();
  void add_append_and_chat();
  void add_attach();
  void add_state();
  void add_keeping();
  void add_daemon();
  void add_bench();

  CLI::App& app_;
  Options& options_;
  Run& run_;
  RunWithoutDaemon& run_without_daemon_;
  condensed::bench::BenchCommand bench_;
  condensed::bench::CompareCommand compare_;
};

void Commands::add_generate() {
  CLI::App* generate = add("generate", "Generate text and print it as it comes", [this](Context& context) {
    const Options& options = options_;
    if (options.generate.resume) {
      return run_resume(context, options.session.session, options.detach);
    }
    return options.detach ? run_generate_detached(context, options.session, options.generate, options.text)
                          : run_generate(context, options.session, options.generate, options.text);
  });
  add_session_flags(*generate, options_.session);
  add_generate_flags(*generate, options_.generate);
  generate->add_option("--prompt", options_.text,
                       "Text to go on from; without it, standard input if that is a pipe");
  generate->add_flag("--keep", options_.session.keep,
                     "Do not close a session that was opened without a name");
  const std::vector<CLI::Option*> of_new_ones = generate->get_options([](const CLI::Option* option) {
    return option->get_name() != "--session" && option->get_name() != "--help";
  });
  CLI::Option* resume =
      generate->add_flag("--resume", options_.generate.resume,
                         "Go on with the session's generation that was interrupted, with its own options");
  resume->needs(generate->get_option("--session"));
  for (CLI::Option* option : of_new_ones) {
    resume->excludes(option);
  }
  generate->add_flag("--detach", options_.detach,
                     "Start it, print the session's name and leave; it goes on until `cancel`");
}

void Commands::add_append_and_chat() {
  CLI::App* append = add("append", "Add text to a session", [this](Context& context) {
    return run_append(context, options_.session, options_.text);
  });
  add_session_flags(*append, options_.session);
  append->get_option("--session")->required();
  append->add_option("text", options_.text, "The text; without it, standard input");

  CLI::App* chat =
      add("chat", "Answer each line of standard input, in one session", [this](Context& context) {
        if (!options_.generate.max_tokens) {
          options_.generate.max_tokens = 200;
        }
        return run_chat(context, options_.session, options_.generate, options_.line_template);
      });
  add_session_flags(*chat, options_.session);
  add_generate_flags(*chat, options_.generate);
  chat->add_flag("--keep", options_.session.keep, "Do not close a session that was opened without a name");
  chat->add_option("--template", options_.line_template, "What a line {} becomes in the stream")
      ->check([](const std::string& text) {
        return text.find("{}") == std::string::npos ? "it must contain {}" : std::string();
      });
}

void Commands::add_attach() {
  CLI::App* attach = add_named("attach", "Watch a session's generation", [this](Context& context) {
    return run_attach(context, options_.session.session, options_.from_position);
  });
  attach->add_option("--from", options_.from_position,
                     "Begin with what the daemon keeps from this position on; ends where nothing more comes");
}

void Commands::add_state() {
  add("sessions", "List the sessions",
      [this](Context& context) { return run_sessions(context, options_.user == kEverybody); });
  add_named(
      "stat", "Show the state of a session, or of the daemon",
      [this](Context& context) { return run_stat(context, options_.session.session); }, false);
  add_named("cancel", "End a session's generation; the session stays",
            [this](Context& context) { return run_cancel(context, options_.session.session); });
  add_named("close", "Close a session, and delete it from disk",
            [this](Context& context) { return run_close(context, options_.session.session); });
}

void Commands::add_keeping() {
  add_named("save", "Write a session to disk now",
            [this](Context& context) { return run_save(context, options_.session.session); });
  add_named("fork", "Copy a session and print the copy's name", [this](Context& context) {
    return run_fork(context, options_.session.session, options_.new_name);
  })->add_option("--as", options_.new_name, "The copy's name; without it, the daemon chooses");
  add_named(
      "rename", "Give a session another name",
      [this](Context& context) { return run_rename(context, options_.session.session, options_.new_name); })
      ->add_option("new", options_.new_name, "The new name")
      ->required();
  add_named("undo", "Take the latest tokens out of a session's stream",
            [this](Context& context) { return run_undo(context, options_.session.session, options_.tokens); })
      ->add_option("tokens", options_.tokens, "How many")
      ->required();
  add_named("export", "Write a session into a file that `import` takes",
            [this](Context& context) { return run_export(context, options_.session.session, options_.file); })
      ->add_option("file", options_.file, "The file; - is standard output")
      ->required();
  CLI::App* import =
      add("import", "Make a session of an exported one and print its name",
          [this](Context& context) { return run_import(context, options_.file, options_.session.session); });
  import->add_option("file", options_.file, "The file; - is standard input")->required();
  import->add_option("--session", options_.session.session, "Its name; without it, the daemon chooses");
}

void Commands::add_daemon() {
  add("ping", "Ask whether the daemon is there", [](Context& context) { return run_ping(context); });
  add("metrics", "Print the daemon's metrics in Prometheus' text format",
      [](Context& context) { return run_metrics(context); });
  CLI::App* top = add("top", "Watch the daemon and its sessions; Ctrl-C ends it",
                      [this](Context& context) { return run_top(context, options_.top); });
  top->add_option("--interval", options_.top.interval_s, "Seconds between two frames, and that rates are of")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  top->add_flag("--once", options_.top.once,
                "Print one frame after one interval, as when output is no terminal");
}

void Commands::add_bench() {
  CLI::App* const bench =
      app_.add_subcommand("bench", "Put a load on the daemon and say how long its answers take");
  bench_.add_to(*bench, [this] {
    run_ = [this](Context& context) { return bench_.run(context, options_.socket, options_.user); };
  });
  compare_.add_to(*bench, [this] { run_without_daemon_ = [this] { return compare_.run(options_.json); }; });
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

/// The exit code; what a command throws becomes a message.
int reported(const RunWithoutDaemon& command) {
  const auto failed = [](const std::string& message, int exit_code) {
    std::cerr << "condensectl: " << message << std::endl;
    return exit_code;
  };
  try {
    return command();
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

int connect_and_run(const Options& options, const Run& run) {
  Terminal terminal(options.json, options.verbose);
  Client client(options.socket);
  client.set_user(options.user);
  client.observe([&](const Client::Event& event) { terminal.event(event); });
  Interrupt interrupt(client);
  Input input(client);
  Context context{client, terminal, interrupt, input};
  return run(context);
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
  app.add_option("--user", options.user,
                 "Whose sessions, a name or a number; * with `sessions` and `top`: everybody's");
  app.require_subcommand(1);
  app.fallthrough();
  Run run;
  RunWithoutDaemon run_without_daemon;
  Commands commands(app, options, run, run_without_daemon);
  commands.add_all();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return reported(run_without_daemon ? run_without_daemon : [&] { return connect_and_run(options, run); });
}
