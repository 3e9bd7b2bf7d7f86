#include "clients/condensectl/generation.h"

#include <charconv>
#include <exception>
#include <stdexcept>
#include <utility>

namespace condensed::ctl {

namespace json = boost::json;

namespace {

constexpr std::size_t kAppendBytes = 64 << 10;  // well below the daemon's line limit, even when escaped
constexpr std::chrono::seconds kCloseTimeout{10};

template <typename T>
void put(json::object& request, std::string_view key, const std::optional<T>& value) {
  if (value) {
    request[key] = *value;
  }
}

std::string_view text_of(const json::object& event) {
  const json::value* text = event.if_contains("text");
  return text != nullptr && text->is_string() ? std::string_view(text->get_string()) : std::string_view();
}

json::object logit_bias(const std::vector<std::string>& entries) {
  json::object bias;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.find('=');
    const char* const end = entry.data() + entry.size();
    double amount = 0;
    if (equals == std::string::npos || equals == 0) {
      throw std::invalid_argument("--logit-bias " + entry + ": expected ID=NUMBER");
    }
    const auto [parsed, error] = std::from_chars(entry.data() + equals + 1, end, amount);
    if (error != std::errc() || parsed != end) {
      throw std::invalid_argument("--logit-bias " + entry + ": expected a number after the =");
    }
    bias[entry.substr(0, equals)] = amount;
  }
  return bias;
}

json::object open_request(const SessionFlags& flags) {
  json::object request{{"op", "open"}};
  if (!flags.session.empty()) {
    request["session"] = flags.session;
  }
  put(request, "sinks", flags.sinks);
  put(request, "window", flags.window);
  return request;
}

/// Where to cut a text longer than `limit`: where a word begins, so that the parts have the tokens of the
/// whole, or else between two characters.
std::size_t append_cut(std::string_view text, std::size_t limit) {
  for (std::size_t cut = limit; cut > 0; --cut) {
    if (text[cut] == ' ' && text[cut - 1] != ' ') {
      return cut;
    }
  }
  std::size_t cut = limit;
  while (cut > 1 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) {
    --cut;
  }
  return cut;
}

}  // namespace

SessionUse::SessionUse(client::Client& client, const SessionFlags& flags)
    : client_(client),
      name_(client.call(open_request(flags)).at("session").as_string()),
      temporary_(flags.session.empty() && !flags.keep) {}

SessionUse::~SessionUse() {
  if (temporary_) {
    try {
      client_.call({{"op", "close"}, {"session", name_}}, kCloseTimeout);
    } catch (const std::exception&) {
      // The daemon has gone, or the session has: either way there is nothing left to close.
    }
  }
}

json::object generate_request(const std::string& session, const GenerateFlags& flags) {
  json::object request{{"session", session}};
  put(request, "max_tokens", flags.max_tokens);
  put(request, "temperature", flags.temperature);
  put(request, "top_k", flags.top_k);
  put(request, "top_p", flags.top_p);
  put(request, "min_p", flags.min_p);
  put(request, "repetition_penalty", flags.repetition_penalty);
  put(request, "presence_penalty", flags.presence_penalty);
  put(request, "frequency_penalty", flags.frequency_penalty);
  put(request, "penalty_window", flags.penalty_window);
  put(request, "seed", flags.seed);
  put(request, "logprobs", flags.logprobs);
  put(request, "account_above_ms", flags.account_above_ms);
  if (flags.resume) {
    request["resume"] = true;
  }
  if (flags.ignore_eos) {
    request["ignore_eos"] = true;
  }
  if (!flags.stop.empty()) {
    request["stop"] = json::array(flags.stop.begin(), flags.stop.end());
  }
  if (!flags.logit_bias.empty()) {
    request["logit_bias"] = logit_bias(flags.logit_bias);
  }
  return request;
}

std::int64_t append_text(client::Client& client, const std::string& session, std::string_view text) {
  while (true) {
    const std::size_t n = text.size() <= kAppendBytes ? text.size() : append_cut(text, kAppendBytes);
    const json::object answer =
        client.call({{"op", "append"}, {"session", session}, {"text", text.substr(0, n)}});
    text.remove_prefix(n);
    if (text.empty()) {
      return answer.at("position").to_number<std::int64_t>();
    }
  }
}

std::int64_t append_input(Context& context, const std::string& session) {
  std::string text;
  while (context.input.fill(text, 2 * kAppendBytes)) {
    const std::size_t n = append_cut(text, kAppendBytes);
    append_text(context.client, session, std::string_view(text).substr(0, n));
    text.erase(0, n);
  }
  return append_text(context.client, session, text);
}

Generated print_generation(Context& context, const std::string& session, const GenerateFlags& flags) {
  bool cancelled = false;
  const auto cancel = [&] {
    if (!std::exchange(cancelled, true)) {
      context.client.send({{"op", "cancel"}, {"session", session}});
    }
  };
  const Interrupt::Instead interrupt(context.interrupt, cancel);
  client::Client::Event done =
      context.client.generate(generate_request(session, flags), [&](const json::object& token) {
        context.terminal.show(text_of(token));
        if (context.terminal.output_closed()) {
          cancel();
        }
      });
  context.terminal.show(text_of(done));
  return {std::move(done), interrupt.happened()};
}

}  // namespace condensed::ctl
