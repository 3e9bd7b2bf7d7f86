#include "clients/condensectl/generation.h"

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace condensed::ctl {

namespace json = boost::json;

namespace {

constexpr int kInterruptedExit = 130;

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

}  // namespace

json::object open_request(const SessionFlags& flags) {
  json::object request{{"op", "open"}};
  if (!flags.session.empty()) {
    request["session"] = flags.session;
  }
  put(request, "sinks", flags.sinks);
  put(request, "window", flags.window);
  return request;
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
  if (flags.ignore_eos) {
    request["ignore_eos"] = true;
  }
  if (!flags.stop.empty()) {
    request["stop"] = json::array(flags.stop.begin(), flags.stop.end());
  }
  json::object bias;
  for (const std::string& entry : flags.logit_bias) {
    const std::size_t equals = entry.find('=');
    double amount = 0;
    const char* end = entry.data() + entry.size();
    const bool parsed = equals != std::string::npos && equals > 0 &&
                        std::from_chars(entry.data() + equals + 1, end, amount).ptr == end;
    if (!parsed) {
      throw std::invalid_argument("--logit-bias " + entry + ": expected ID=NUMBER");
    }
    bias[entry.substr(0, equals)] = amount;
  }
  if (!bias.empty()) {
    request["logit_bias"] = std::move(bias);
  }
  return request;
}

Interrupt::Interrupt(client::Client& client, std::function<void()> action)
    : signals_(client.io(), SIGINT, SIGTERM), action_(std::move(action)) {
  wait();
}

void Interrupt::wait() {
  signals_.async_wait([this](const boost::system::error_code& error, int) {
    if (error) {
      return;
    }
    if (std::exchange(happened_, true)) {
      std::_Exit(kInterruptedExit);
    }
    action_();
    wait();
  });
}

Generated print_generation(client::Client& client, Terminal& terminal, const std::string& session,
                           const GenerateFlags& flags) {
  const auto cancel = [&] { client.send({{"op", "cancel"}, {"session", session}}); };
  Interrupt interrupt(client, cancel);
  bool output_closed = false;
  client::Client::Event done =
      client.generate(generate_request(session, flags), [&](const json::object& token) {
        if (output_closed) {
          return;
        }
        try {
          terminal.event(token);
          terminal.show(text_of(token));
        } catch (const OutputClosed&) {
          output_closed = true;
          cancel();
        }
      });
  if (output_closed) {
    throw OutputClosed();
  }
  terminal.event(done);
  terminal.show(text_of(done));
  return {std::move(done), interrupt.happened()};
}

}  // namespace condensed::ctl
