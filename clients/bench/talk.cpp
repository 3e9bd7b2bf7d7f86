#include "clients/bench/talk.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include <CLI/CLI.hpp>

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::string_view kPlace = "{}";
// Answers differ in length as people's do: a few are several times as long as most.
constexpr double kSpread = 0.7;
constexpr double kLongest = 16;  // times the mean

std::string filled_in(std::string text, const std::string& turn) {
  return text.replace(text.find(kPlace), kPlace.size(), turn);
}

}  // namespace

void TalkFlags::add_to(CLI::App& command) {
  command.add_option(
      "--turns-file", turns_path,
      "What users say: lines of text, or of JSON with \"turns\"; without it, what comes along");
  command.add_option("--template", turn_template, "What a turn {} becomes in the stream");
  command.add_option("--answer-tokens", answer_tokens, "Mean length of answers, which vary around it")
      ->check(CLI::Range(1.0, 1e9))
      ->capture_default_str();
  stream.add_session_flags(command);
}

Conversations TalkFlags::conversations() const {
  if (turn_template.find(kPlace) == std::string::npos) {
    throw std::invalid_argument("--template: expected {} where the turn belongs, found \"" + turn_template +
                                "\"");
  }
  return turns_path.empty() ? Conversations::bundled() : Conversations::from_file(turns_path);
}

json::object TalkFlags::settings() const {
  json::object all = stream.session_settings();
  all["turns_file"] = turns_path.empty() ? json::value() : json::value(turns_path);
  all["conversations"] = conversations().size();
  all["template"] = turn_template;
  all["answer_tokens"] = answer_tokens;
  return all;
}

Talker::Talker(const TalkFlags& flags, const Conversations& conversations, std::uint64_t seed)
    : flags_(flags),
      conversations_(conversations),
      random_(seed),
      conversation_(random_() % conversations.size()) {}

Turn Talker::next() {
  while (turn_ == conversations_[conversation_].size()) {
    conversation_ = random_() % conversations_.size();
    turn_ = 0;
  }
  const double mean_of_log = std::log(flags_.answer_tokens) - kSpread * kSpread / 2;
  const double tokens = std::lognormal_distribution<double>(mean_of_log, kSpread)(random_);
  return {.text = filled_in(flags_.turn_template, conversations_[conversation_][turn_++]),
          .answer_tokens = std::llround(std::clamp(tokens, 1.0, kLongest * flags_.answer_tokens))};
}

json::object Talker::generate_fields(std::int64_t answer_tokens) {
  return flags_.stream.generate_fields(random_(), answer_tokens);
}

std::chrono::nanoseconds Talker::pause(double mean_ms) {
  if (mean_ms <= 0) {
    return std::chrono::nanoseconds(0);
  }
  return std::chrono::nanoseconds(
      std::llround(std::exponential_distribution<double>(1 / mean_ms)(random_) * 1e6));
}

asio::awaitable<Generated> say(Run& run, Run::ClientPtr client, std::string session, Turn turn,
                               json::object generate_fields, std::optional<Clock::time_point> due) {
  Generated generated;
  bool refused = false;  // known before the first token: answers to requests for one session keep their order
  std::vector<Run::Task> tasks;
  tasks.emplace_back([&]() -> asio::awaitable<void> {
    json::object request{{"op", "append"}, {"session", session}, {"text", turn.text}};
    co_await run.try_call(client, std::move(request), &refused);
  });
  tasks.emplace_back([&]() -> asio::awaitable<void> {
    generated = co_await run.generate(client, session, std::move(generate_fields), due, nullptr, &refused);
  });
  co_await run.together(std::move(tasks));
  if (const json::value* usage = generated.done.if_contains("usage")) {
    run.recorder().record_input(usage->at("prompt_tokens").as_int64(), generated.ended);
  }
  co_return generated;
}

}  // namespace condensed::bench
