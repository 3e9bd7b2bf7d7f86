// Commands that read into and write out of a session: generate, append, chat, attach.

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "clients/condensectl/generation.h"

namespace condensed::ctl {

namespace json = boost::json;

namespace {

constexpr int kInterruptedExit = 130;
constexpr std::size_t kAppendBytes = 64 << 10;  // well below the daemon's line limit, even when escaped

std::string string_at(const json::object& event, std::string_view key) {
  return std::string(event.at(key).as_string());
}

/// Where to cut `text` at most `limit` bytes in: before a space if there is one, never inside a character.
std::size_t append_cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) {
    return text.size();
  }
  if (const std::size_t space = text.rfind(' ', limit); space != std::string_view::npos && space > 0) {
    return space;
  }
  std::size_t cut = limit;
  while (cut > 1 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) {
    --cut;
  }
  return cut;
}

std::string formatted(const char* format, double a, double b, double c) {
  char buffer[160];
  std::snprintf(buffer, sizeof(buffer), format, a, b, c);
  return buffer;
}

void note_summary(Terminal& terminal, const json::object& done, const json::object& stat) {
  const json::object& usage = done.at("usage").as_object();
  const json::object& timing = done.at("timing").as_object();
  const auto number = [](const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_number() ? value->to_number<double>() : 0.0;
  };
  terminal.note(formatted("[%.0f tokens, %.1f tokens/s, first after %.1f ms; ",
                          number(usage, "completion_tokens"), number(timing, "tokens_per_s"),
                          number(timing, "time_to_first_token_ms")) +
                "session " + string_at(stat, "session") +
                formatted(": position %.0f, %.0f cached, %.0f bytes of cache]", number(stat, "position"),
                          number(stat, "cached"), number(stat, "cache_bytes")));
}

}  // namespace

std::int64_t append_text(client::Client& client, const std::string& session, std::string_view text) {
  std::int64_t position = 0;
  do {
    const std::size_t n = append_cut(text, kAppendBytes);
    const json::object answer =
        client.call({{"op", "append"}, {"session", session}, {"text", text.substr(0, n)}});
    position = answer.at("position").to_number<std::int64_t>();
    text.remove_prefix(n);
  } while (!text.empty());
  return position;
}

int run_generate(client::Client& client, Terminal& terminal, const SessionFlags& session,
                 const GenerateFlags& flags, const std::optional<std::string>& prompt) {
  generate_request("", flags);  // refuses bad flags before anything is opened
  const json::object opened = client.call(open_request(session));
  terminal.event(opened);
  const std::string name = string_at(opened, "session");
  if (prompt) {
    append_text(client, name, *prompt);
  } else if (!terminal.input_is_terminal()) {
    if (const std::string text = Terminal::read_all_input(); !text.empty()) {
      append_text(client, name, text);
    }
  }
  const Generated generated = print_generation(client, terminal, name, flags);
  if (terminal.output_is_terminal()) {
    terminal.show("\n");
  }
  note_summary(terminal, generated.done, client.call({{"op", "stat"}, {"session", name}}));
  if (session.session.empty() && !session.keep) {
    client.call({{"op", "close"}, {"session", name}});
  }
  return generated.interrupted ? kInterruptedExit : 0;
}

int run_append(client::Client& client, Terminal& terminal, const SessionFlags& session,
               const std::optional<std::string>& text) {
  client.call(open_request(session));
  const std::int64_t position =
      append_text(client, session.session, text ? *text : Terminal::read_all_input());
  terminal.event({{"event", "appended"}, {"session", session.session}, {"position", position}});
  terminal.show("session " + session.session + " is at position " + std::to_string(position) + "\n");
  return 0;
}

int run_chat(client::Client& client, Terminal& terminal, const SessionFlags& session,
             const GenerateFlags& flags, const std::string& line_template) {
  generate_request("", flags);
  const json::object opened = client.call(open_request(session));
  const std::string name = string_at(opened, "session");
  const std::size_t hole = line_template.find("{}");
  const auto prompt = [&] {
    if (terminal.input_is_terminal()) {
      terminal.show("> ");
    }
  };
  std::string line;
  for (prompt(); std::getline(std::cin, line); prompt()) {
    std::string text = line_template;
    text.replace(hole, 2, line);
    append_text(client, name, text);
    print_generation(client, terminal, name, flags);
    terminal.show("\n");
  }
  if (session.session.empty() && !session.keep) {
    client.call({{"op", "close"}, {"session", name}});
  }
  return 0;
}

int run_attach(client::Client& client, Terminal& terminal, const std::string& session) {
  bool finished = false;
  Interrupt interrupt(client, [&] {
    finished = true;
    client.send({{"op", "detach"}, {"session", session}});  // its answer ends the wait
  });
  client.on_unasked([&](const json::object& event) {
    terminal.event(event);
    const std::string_view name = event.at("event").as_string();
    if (name == "token" || name == "done") {
      terminal.show(std::string_view(event.at("text").as_string()));
    }
    if (name == "lagged") {
      terminal.note("[missed " + json::serialize(event.at("missed")) + " tokens]");
    }
    finished |= name == "done" || name == "closed" || name == "bye";
  });
  const json::object attached = client.call({{"op", "attach"}, {"session", session}});
  terminal.event(attached);
  if (!attached.at("generating").as_bool()) {
    terminal.note("[session " + session + " is resting; waiting for its next generation]");
  }
  client.watch([&] { return finished; });
  if (terminal.output_is_terminal()) {
    terminal.show("\n");
  }
  return interrupt.happened() ? kInterruptedExit : 0;
}

}  // namespace condensed::ctl
