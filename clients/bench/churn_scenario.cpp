// Many sessions that come, are used, copied, fall asleep, wake and go.

#include <array>
#include <utility>

#include <CLI/CLI.hpp>

#include "clients/bench/action_mix.h"
#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/bench/talk.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::chrono::milliseconds kRest{100};

class ChurnScenario : public Scenario {
 public:
  std::string name() const override { return "churn"; }
  std::string description() const override {
    return "Sessions that are opened, used, copied and closed, fall asleep and wake";
  }
  void add_flags(CLI::App& command) override;
  json::object settings() const override;
  asio::awaitable<void> execute(Run& run) override;
  void add_to_report(Run& run, json::object& report) const override;

 private:
  struct Worker {
    Run::ClientPtr client;
    Talker talker;
  };

  std::string new_name(Run& run) { return run.session_name("c" + std::to_string(next_name_++)); }
  bool full() const { return n_sessions_ >= most_sessions_; }
  Action choose(std::mt19937_64& random) const;
  /// A session nobody uses just now; nobody else gets it until it is put back.
  std::string take_idle(std::mt19937_64& random);

  asio::awaitable<void> work(Run& run, Worker& worker, std::optional<Clock::time_point> until);
  asio::awaitable<void> all_work(Run& run, std::optional<Clock::time_point> until);
  asio::awaitable<void> act(Run& run, Worker& worker, Action action);
  asio::awaitable<void> open(Run& run, Worker& worker);
  asio::awaitable<void> talk(Run& run, Worker& worker, const std::string& session);
  asio::awaitable<void> fork(Run& run, Worker& worker, const std::string& session);
  asio::awaitable<bool> close(Run& run, Worker& worker, const std::string& session);
  /// Wakes the session if it sleeps, and says how long that took.
  asio::awaitable<void> give_up(Run& run, const std::string& session);
  asio::awaitable<void> wake(Run& run, Worker& worker, const std::string& session);

  TalkFlags flags_;
  std::int64_t most_sessions_ = 64;
  std::int64_t n_workers_ = 4;
  double think_ms_ = 0;
  std::string mix_text_ = "talk=6,open=2,fork=1,close=1";
  std::optional<std::int64_t> n_actions_;

  std::optional<ActionMix> mix_;
  std::vector<Worker> workers_;
  std::vector<std::string> idle_;  // sessions nobody uses
  std::int64_t n_sessions_ = 0;    // those in use included
  std::int64_t next_name_ = 0;
  std::array<std::int64_t, kActions> done_{};  // in the measured part
  std::int64_t n_begun_ = 0;
  std::int64_t n_woken_ = 0;
  Figure opened_{};
  Figure forked_{};
  Figure closed_{};
};

void ChurnScenario::add_flags(CLI::App& command) {
  command.add_option("--sessions", most_sessions_, "Most sessions at once")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24))
      ->capture_default_str();
  command.add_option("--workers", n_workers_, "How many use them at once, each on a connection")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  command.add_option("--think-ms", think_ms_, "Mean time between a worker's actions")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  command.add_option("--mix", mix_text_, "How often each is done: talk, open, fork, rest and close")
      ->capture_default_str();
  command.add_option("--actions", n_actions_, "End after so many; without it, --duration does")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  flags_.add_to(command);
}

json::object ChurnScenario::settings() const {
  const ActionMix mix(mix_text_);
  json::object all = flags_.settings();
  all["sessions"] = most_sessions_;
  all["workers"] = n_workers_;
  all["think_ms"] = think_ms_;
  all["mix"] = mix_text_;
  all["actions"] = n_actions_ ? json::value(*n_actions_) : json::value();
  return all;
}

/// Until there are sessions, they are opened; when there are as many as may be, no more are.
Action ChurnScenario::choose(std::mt19937_64& random) const {
  const Action action = mix_->draw(random);
  if (idle_.empty() && action != Action::rest) {
    return full() ? Action::rest : Action::open;
  }
  const bool adds = action == Action::open || action == Action::fork;
  return adds && full() ? Action::talk : action;
}

std::string ChurnScenario::take_idle(std::mt19937_64& random) {
  std::swap(idle_[random() % idle_.size()], idle_.back());
  std::string session = std::move(idle_.back());
  idle_.pop_back();
  return session;
}

asio::awaitable<void> ChurnScenario::open(Run& run, Worker& worker) {
  const std::string session = new_name(run);
  json::object request = flags_.stream.open_fields();
  request["op"] = "open";
  request["session"] = session;
  request["text"] = worker.talker.next().text;
  ++n_sessions_;
  run.adopt(session);
  if (const auto answer = co_await run.try_call(worker.client, std::move(request))) {
    run.leave_alone_if_there(session, answer->event);
    run.recorder().record(opened_, answer->sent, answer->arrived);
    idle_.push_back(session);
  } else {
    co_await give_up(run, session);
  }
}

/// The daemon did not make the session; it is not asked again at once.
asio::awaitable<void> ChurnScenario::give_up(Run& run, const std::string& session) {
  run.forget(session);
  --n_sessions_;
  co_await run.sleep_until(Clock::now() + kRest);
}

asio::awaitable<void> ChurnScenario::wake(Run& run, Worker& worker, const std::string& session) {
  json::object question{{"op", "stat"}, {"session", session}};
  const auto stat = co_await run.try_call(worker.client, std::move(question));
  if (!stat || stat->event.at("state").as_string() != "asleep") {
    co_return;
  }
  json::object request{{"op", "open"}, {"session", session}};
  if (const auto answer = co_await run.try_call(worker.client, std::move(request))) {
    n_woken_ += run.recorder().measuring() ? 1 : 0;
    run.recorder().record(Figure::wake, answer->sent, answer->arrived);
  }
}

asio::awaitable<void> ChurnScenario::talk(Run& run, Worker& worker, const std::string& session) {
  co_await wake(run, worker, session);
  Turn turn = worker.talker.next();
  json::object fields = worker.talker.generate_fields(turn.answer_tokens);
  co_await say(run, worker.client, session, std::move(turn), std::move(fields));
}

asio::awaitable<void> ChurnScenario::fork(Run& run, Worker& worker, const std::string& session) {
  const std::string copy = new_name(run);
  json::object request{{"op", "fork"}, {"session", session}, {"as", copy}};
  ++n_sessions_;
  run.adopt(copy);
  if (const auto answer = co_await run.try_call(worker.client, std::move(request))) {
    run.recorder().record(forked_, answer->sent, answer->arrived);
    idle_.push_back(copy);
  } else {
    co_await give_up(run, copy);
  }
}

asio::awaitable<bool> ChurnScenario::close(Run& run, Worker& worker, const std::string& session) {
  json::object request{{"op", "close"}, {"session", session}};
  const auto answer = co_await run.try_call(worker.client, std::move(request));
  if (answer) {
    run.recorder().record(closed_, answer->sent, answer->arrived);
    run.forget(session);
    --n_sessions_;
  }
  co_return answer.has_value();
}

asio::awaitable<void> ChurnScenario::act(Run& run, Worker& worker, Action action) {
  if (action == Action::rest) {
    co_await run.sleep_until(Clock::now() + kRest);
    co_return;
  }
  if (action == Action::open) {
    co_await open(run, worker);
    co_return;
  }
  const std::string session = take_idle(worker.talker.random());
  bool stays = true;
  if (action == Action::talk) {
    co_await talk(run, worker, session);
  } else if (action == Action::fork) {
    co_await fork(run, worker, session);
  } else {
    stays = !co_await close(run, worker, session);
  }
  if (stays) {
    idle_.push_back(session);
  }
}

asio::awaitable<void> ChurnScenario::work(Run& run, Worker& worker, std::optional<Clock::time_point> until) {
  const auto goes_on = [&] {
    return !run.stopping() && (!until || Clock::now() < *until) &&
           (!run.recorder().measuring() || !n_actions_ || n_begun_ < *n_actions_);
  };
  while (goes_on()) {
    if (think_ms_ > 0 && !co_await run.sleep_until(Clock::now() + worker.talker.pause(think_ms_))) {
      co_return;
    }
    if (!goes_on()) {
      co_return;
    }
    const Action action = choose(worker.talker.random());
    n_begun_ += run.recorder().measuring() ? 1 : 0;
    co_await act(run, worker, action);
    done_[static_cast<std::size_t>(action)] += run.recorder().measuring() ? 1 : 0;
  }
}

asio::awaitable<void> ChurnScenario::all_work(Run& run, std::optional<Clock::time_point> until) {
  std::vector<Run::Task> tasks;
  for (Worker& worker : workers_) {
    tasks.emplace_back([this, &run, &worker, until] { return work(run, worker, until); });
  }
  co_await run.together(std::move(tasks));
}

asio::awaitable<void> ChurnScenario::execute(Run& run) {
  const Conversations conversations = flags_.conversations();
  mix_.emplace(mix_text_);
  opened_ = run.recorder().add_figure("open");
  forked_ = run.recorder().add_figure("fork");
  closed_ = run.recorder().add_figure("close");
  for (std::int64_t i = 0; i < n_workers_ && !run.stopping(); ++i) {
    const std::uint64_t seed = run.options().seed + static_cast<std::uint64_t>(i);
    workers_.push_back({run.connect(), Talker(flags_, conversations, seed)});
  }
  if (run.options().warmup_duration.count() > 0) {
    co_await all_work(run, Clock::now() + run.options().warmup_duration);
  }
  co_await run.begin_measuring();
  co_await all_work(run, std::nullopt);
}

void ChurnScenario::add_to_report(Run& /*run*/, json::object& report) const {
  json::object actions;
  for (std::size_t i = 0; i < kActions; ++i) {
    actions[name_of(static_cast<Action>(i))] = done_[i];
  }
  report["churn"] = {{"actions", actions}, {"woken", n_woken_}, {"sessions", n_sessions_}};
}

}  // namespace

std::unique_ptr<Scenario> make_churn_scenario() {
  return std::make_unique<ChurnScenario>();
}

}  // namespace condensed::bench
