// Commands that read into and write out of a session: generate, append, chat, attach.

#include <cstdint>
#include <cstdio>

#include "clients/condensectl/generation.h"

namespace condensed::ctl {

namespace json = boost::json;

namespace {

double number_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<double>() : 0.0;
}

std::string summary(const json::object& done, const json::object& stat) {
  const json::object& timing = done.at("timing").as_object();
  char numbers[200];
  std::snprintf(numbers, sizeof(numbers),
                "%.0f tokens, %.1f tokens/s, first after %.1f ms; position %.0f, %.0f cached, "
                "%.0f bytes of cache",
                number_at(done.at("usage").as_object(), "completion_tokens"),
                number_at(timing, "tokens_per_s"), number_at(timing, "time_to_first_token_ms"),
                number_at(stat, "position"), number_at(stat, "cached"), number_at(stat, "cache_bytes"));
  return "[session " + std::string(stat.at("session").as_string()) + ": " + numbers + "]";
}

/// The prompt, or standard input where somebody piped it.
void append_prompt(Context& context, const std::string& session, const std::optional<std::string>& prompt) {
  if (prompt) {
    append_text(context.client, session, *prompt);
  } else if (!Input::is_terminal()) {
    append_input(context, session);
  }
}

/// Says how a generation ended. Returns the exit code.
int report_end(Context& context, const Generated& generated, const std::string& session) {
  if (context.terminal.output_closed()) {
    return 0;
  }
  if (context.terminal.output_is_terminal()) {
    context.terminal.show("\n");
  }
  if (generated.done.at("reason") == "shutdown") {
    throw client::ConnectionLost(generated.done.contains("resumable")
                                     ? "the daemon stopped; when it is back, generate --session " + session +
                                           " --resume goes on"
                                     : "the daemon stopped before the generation ended");
  }
  if (generated.done.at("reason") == "failed") {
    throw std::runtime_error(std::string(generated.done.at("message").as_string()) +
                             (generated.done.contains("resumable")
                                  ? "; generate --session " + session + " --resume goes on"
                                  : ""));
  }
  if (context.terminal.notes_shown()) {
    context.terminal.note(
        summary(generated.done, context.client.call({{"op", "stat"}, {"session", session}})));
  }
  return generated.interrupted ? kInterruptedExit : 0;
}

}  // namespace

int run_generate(Context& context, const SessionFlags& session, const GenerateFlags& flags,
                 const std::optional<std::string>& prompt) {
  generate_request("", flags);  // refuses bad flags before anything is opened
  const SessionUse use(context.client, session);
  append_prompt(context, use.name(), prompt);
  const Generated generated = print_generation(context, use.name(), flags);
  return report_end(context, generated, use.name());
}

int run_resume(Context& context, const std::string& session, bool detached) {
  const GenerateFlags flags{.resume = true};
  if (detached) {
    context.client.generate_detached(generate_request(session, flags));
    context.terminal.show(session + "\n");
    return 0;
  }
  return report_end(context, print_generation(context, session, flags), session);
}

int run_generate_detached(Context& context, SessionFlags session, const GenerateFlags& flags,
                          const std::optional<std::string>& prompt) {
  generate_request("", flags);
  session.keep = true;  // it is what is left behind
  const SessionUse use(context.client, session);
  append_prompt(context, use.name(), prompt);
  context.client.generate_detached(generate_request(use.name(), flags));
  context.terminal.show(use.name() + "\n");
  return 0;
}

int run_append(Context& context, const SessionFlags& session, const std::optional<std::string>& text) {
  const SessionUse use(context.client, session);
  const std::int64_t position =
      text ? append_text(context.client, use.name(), *text) : append_input(context, use.name());
  context.terminal.show("session " + use.name() + " is at position " + std::to_string(position) + "\n");
  return 0;
}

int run_chat(Context& context, const SessionFlags& session, const GenerateFlags& flags,
             const std::string& line_template) {
  generate_request("", flags);
  const SessionUse use(context.client, session);
  const std::size_t hole = line_template.find("{}");
  const auto prompted_line = [&] {
    if (Input::is_terminal()) {
      context.terminal.show("> ");
    }
    return context.input.line();
  };
  while (const std::optional<std::string> line = prompted_line()) {
    std::string text = line_template;
    text.replace(hole, 2, *line);
    append_text(context.client, use.name(), text);
    print_generation(context, use.name(), flags);
    context.terminal.show("\n");
    if (context.terminal.output_closed()) {
      break;
    }
  }
  return 0;
}

int run_attach(Context& context, const std::string& session, std::optional<std::int64_t> from_position) {
  std::int64_t n_replayed = 0;  // events still to come that are repetitions
  bool finished = false;
  bool generating = false;
  context.client.on_unasked([&](const json::object& event) {
    const std::string_view name = event.at("event").as_string();
    const bool of_stream = name == "token" || name == "done";
    if (of_stream) {
      context.terminal.show(std::string_view(event.at("text").as_string()));
    }
    if (name == "lagged") {
      context.terminal.note("[missed " + json::serialize(event.at("missed")) + " tokens]");
    }
    const bool repeated = of_stream && n_replayed > 0;
    n_replayed -= repeated ? 1 : 0;
    finished |= (name == "done" && !repeated) || (repeated && n_replayed == 0 && !generating) ||
                name == "closed" || name == "bye" || context.terminal.output_closed();
  });
  json::object request{{"op", "attach"}, {"session", session}};
  if (from_position) {
    request["from_position"] = *from_position;
  }
  const json::object attached = context.client.call(std::move(request));
  generating = attached.at("generating").as_bool();
  if (from_position) {
    n_replayed = attached.at("replayed").to_number<std::int64_t>();
    finished = n_replayed == 0 && !generating;
  } else if (!generating) {
    context.terminal.note("[session " + session + " is resting; waiting for its next generation]");
  }
  context.client.watch([&] { return finished; });
  if (context.terminal.output_is_terminal()) {
    context.terminal.show("\n");
  }
  return 0;
}

}  // namespace condensed::ctl
