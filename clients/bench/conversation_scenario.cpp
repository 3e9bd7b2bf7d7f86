// Users who talk: each says something, reads the answer, thinks, and goes on in the same session.

#include <utility>

#include <CLI/CLI.hpp>

#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/bench/talk.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

class ConversationScenario : public Scenario {
 public:
  std::string name() const override { return "conversation"; }
  std::string description() const override {
    return "Users who say something, read the answer, think, and go on in the same session";
  }
  void add_flags(CLI::App& command) override;
  json::object settings() const override;
  asio::awaitable<void> execute(Run& run) override;
  void add_to_report(Run& run, json::object& report) const override;

 private:
  struct User {
    Run::ClientPtr client;
    std::string session;
    Talker talker;
    std::int64_t turns = 0;
  };

  asio::awaitable<void> open(Run& run, const Conversations& conversations);
  /// Turn after turn until there were so many, the time is over or the run is to stop.
  asio::awaitable<void> talk(Run& run, User& user, std::optional<std::int64_t> turns,
                             std::optional<Clock::time_point> until);
  asio::awaitable<void> all_talk(Run& run, std::optional<std::int64_t> turns,
                                 std::optional<Clock::time_point> until);

  TalkFlags flags_;
  std::int64_t n_users_ = 4;
  std::optional<std::int64_t> turns_;
  std::int64_t warmup_turns_ = 1;
  double think_ms_ = 1000;
  std::vector<User> users_;
  std::int64_t turns_taken_ = 0;  // in the measured part
};

void ConversationScenario::add_flags(CLI::App& command) {
  command.add_option("--users", n_users_, "Users at once, each with a session and a connection")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  command.add_option("--turns", turns_, "Turns of each user; without it, no end")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  command.add_option("--warmup-turns", warmup_turns_, "Turns of each user before anything is counted")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("--think-ms", think_ms_, "Mean time between an answer and the user's next turn")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  flags_.add_to(command);
}

json::object ConversationScenario::settings() const {
  json::object all = flags_.settings();
  all["users"] = n_users_;
  all["turns"] = turns_ ? json::value(*turns_) : json::value();
  all["warmup_turns"] = warmup_turns_;
  all["think_ms"] = think_ms_;
  return all;
}

asio::awaitable<void> ConversationScenario::open(Run& run, const Conversations& conversations) {
  for (std::int64_t i = 0; i < n_users_ && !run.stopping(); ++i) {
    const std::uint64_t seed = run.options().seed + static_cast<std::uint64_t>(i);
    User user{run.connect(), run.session_name("user" + std::to_string(i)),
              Talker(flags_, conversations, seed)};
    co_await run.open(user.client, user.session, flags_.stream.open_fields());
    users_.push_back(std::move(user));
  }
}

asio::awaitable<void> ConversationScenario::talk(Run& run, User& user, std::optional<std::int64_t> turns,
                                                 std::optional<Clock::time_point> until) {
  const auto goes_on = [&](std::int64_t taken) {
    return !run.stopping() && (!turns || taken < *turns) && (!until || Clock::now() < *until);
  };
  for (std::int64_t taken = 0; goes_on(taken); ++taken) {
    // Everybody thinks first, too, lest all begin in the same moment.
    if (!co_await run.sleep_until(Clock::now() + user.talker.pause(think_ms_))) {
      co_return;
    }
    Turn turn = user.talker.next();
    json::object fields = user.talker.generate_fields(turn.answer_tokens);
    const Generated said = co_await say(run, user.client, user.session, std::move(turn), std::move(fields));
    user.turns += said.to_its_end() ? 1 : 0;
  }
}

asio::awaitable<void> ConversationScenario::all_talk(Run& run, std::optional<std::int64_t> turns,
                                                     std::optional<Clock::time_point> until) {
  std::vector<Run::Task> tasks;
  for (User& user : users_) {
    tasks.emplace_back([this, &run, &user, turns, until] { return talk(run, user, turns, until); });
  }
  co_await run.together(std::move(tasks));
}

asio::awaitable<void> ConversationScenario::execute(Run& run) {
  const Conversations conversations = flags_.conversations();
  co_await open(run, conversations);
  if (warmup_turns_ > 0) {
    co_await all_talk(run, warmup_turns_, std::nullopt);
  }
  if (run.options().warmup_duration.count() > 0) {
    co_await all_talk(run, std::nullopt, Clock::now() + run.options().warmup_duration);
  }
  for (User& user : users_) {
    user.turns = 0;
  }
  co_await run.begin_measuring();
  co_await all_talk(run, turns_, std::nullopt);
  for (const User& user : users_) {
    turns_taken_ += user.turns;
  }
}

void ConversationScenario::add_to_report(Run& /*run*/, json::object& report) const {
  report["conversation"] = {{"users", users_.size()}, {"turns", turns_taken_}};
}

}  // namespace

std::unique_ptr<Scenario> make_conversation_scenario() {
  return std::make_unique<ConversationScenario>();
}

}  // namespace condensed::bench
