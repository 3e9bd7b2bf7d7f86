// An open loop: requests come when they are due, however long the answers to those before take.

#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <utility>

#include <CLI/CLI.hpp>

#include "clients/bench/arrival_times.h"
#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/bench/talk.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

class ArrivalsScenario : public Scenario {
 public:
  std::string name() const override { return "arrivals"; }
  std::string description() const override {
    return "An open loop: requests at a rate or by a trace, whether answers keep up or not";
  }
  void add_flags(CLI::App& command) override;
  json::object settings() const override;
  asio::awaitable<void> execute(Run& run) override;
  void add_to_report(Run& run, json::object& report) const override;

 private:
  /// One of those that carry requests out; with as many as may be under way, none is ever refused: it waits,
  /// and what it waits is counted.
  struct Worker {
    Run::ClientPtr client;
    std::string session;  // of its own, in use again and again; empty: a new one for each request
    std::int64_t n_served = 0;
  };
  struct Request {
    Clock::time_point due;
    Turn turn;
    json::object generate_fields;
  };

  std::unique_ptr<ArrivalTimes> arrivals(std::uint64_t seed) const;
  asio::awaitable<void> open_workers(Run& run);
  /// In the order in which they are due. Nothing: no more, or the run is to stop.
  std::optional<Request> next_request();
  asio::awaitable<void> serve_all(Run& run, Worker& worker, std::size_t number);
  asio::awaitable<void> serve(Run& run, Worker& worker, std::size_t number, Request request);
  void count_unanswered(Run& run, Clock::time_point due, const Generated& said);
  void count_unsent(Clock::time_point ended);

  TalkFlags flags_;
  std::optional<double> rate_;
  std::string trace_path_;
  std::optional<std::int64_t> n_requests_;
  std::int64_t most_outstanding_ = 64;
  bool keep_sessions_ = false;

  std::unique_ptr<ArrivalTimes> arrivals_;
  std::optional<Talker> talker_;
  std::vector<Worker> workers_;
  Clock::time_point start_;
  std::int64_t n_scheduled_ = 0;  // taken from arrivals_, due or not
  std::int64_t n_sent_ = 0;
  std::int64_t n_unsent_ = 0;                   // due before the end
  std::chrono::nanoseconds longest_unsent_{0};  // how long the first of them had waited
  std::int64_t n_unanswered_ = 0;               // sent, and cut off before their first token
  std::chrono::nanoseconds longest_unanswered_{0};
  std::vector<Clock::time_point> taken_;  // due times of those whose workers were not in time
};

void ArrivalsScenario::add_flags(CLI::App& command) {
  CLI::Option* const rate =
      command
          .add_option("--rate", rate_, "Requests a second on average, independent of each other (Poisson)")
          ->check(CLI::Range(1e-6, 1e6));
  command
      .add_option("--trace", trace_path_,
                  "File of lines SECONDS [OUTPUT_TOKENS]: when requests are due, instead of --rate")
      ->excludes(rate);
  command.add_option("--requests", n_requests_, "End after so many requests; without it, --duration does")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  command
      .add_option("--outstanding", most_outstanding_,
                  "Most requests under way; further ones wait, which is counted")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  command.add_flag("--keep-sessions", keep_sessions_,
                   "Requests go on in as many sessions as may be under way, instead of opening new ones");
  flags_.add_to(command);
}

json::object ArrivalsScenario::settings() const {
  if (!rate_ && trace_path_.empty()) {
    throw std::invalid_argument("arrivals: give --rate, or --trace FILE");
  }
  arrivals(0);  // refuses a trace that is none before anything is opened
  json::object all = flags_.settings();
  all["rate"] = rate_ ? json::value(*rate_) : json::value();
  all["trace"] = trace_path_.empty() ? json::value() : json::value(trace_path_);
  all["requests"] = n_requests_ ? json::value(*n_requests_) : json::value();
  all["outstanding"] = most_outstanding_;
  all["keep_sessions"] = keep_sessions_;
  return all;
}

std::unique_ptr<ArrivalTimes> ArrivalsScenario::arrivals(std::uint64_t seed) const {
  if (rate_) {
    return std::make_unique<PoissonArrivals>(*rate_, seed);
  }
  return std::make_unique<TraceArrivals>(TraceArrivals::from_file(trace_path_));
}

asio::awaitable<void> ArrivalsScenario::open_workers(Run& run) {
  for (std::int64_t i = 0; i < most_outstanding_ && !run.stopping(); ++i) {
    Worker worker{.client = run.connect()};
    if (keep_sessions_) {
      worker.session = run.session_name("kept" + std::to_string(i));
      co_await run.open(worker.client, worker.session, flags_.stream.open_fields());
    }
    workers_.push_back(std::move(worker));
  }
}

std::optional<ArrivalsScenario::Request> ArrivalsScenario::next_request() {
  if (n_requests_ && n_scheduled_ == *n_requests_) {
    return std::nullopt;
  }
  const std::optional<Arrival> arrival = arrivals_->next();
  if (!arrival) {
    return std::nullopt;
  }
  ++n_scheduled_;
  // What is asked follows from the request's number alone, whoever carries it out and when.
  Turn turn = talker_->next();
  turn.answer_tokens = arrival->output_tokens.value_or(turn.answer_tokens);
  json::object fields = talker_->generate_fields(turn.answer_tokens);
  return Request{start_ + arrival->after_start, std::move(turn), std::move(fields)};
}

asio::awaitable<void> ArrivalsScenario::serve(Run& run, Worker& worker, std::size_t number, Request request) {
  if (keep_sessions_) {
    const Clock::time_point due = request.due;
    count_unanswered(run, due,
                     co_await say(run, worker.client, worker.session, std::move(request.turn),
                                  std::move(request.generate_fields), due));
    co_return;
  }
  const std::string session =
      run.session_name("w" + std::to_string(number) + "-" + std::to_string(worker.n_served++));
  json::object open = flags_.stream.open_fields();
  open["op"] = "open";
  open["session"] = session;
  run.adopt(session);
  const auto opened = co_await run.try_call(worker.client, std::move(open));
  if (!opened) {
    run.forget(session);
    co_return;
  }
  run.leave_alone_if_there(session, opened->event);
  const Clock::time_point due = request.due;
  count_unanswered(run, due,
                   co_await say(run, worker.client, session, std::move(request.turn),
                                std::move(request.generate_fields), due));
  json::object close{{"op", "close"}, {"session", session}};
  if (co_await run.try_call(worker.client, std::move(close))) {
    run.forget(session);
  }
}

asio::awaitable<void> ArrivalsScenario::serve_all(Run& run, Worker& worker, std::size_t number) {
  while (!run.stopping()) {
    std::optional<Request> request = next_request();
    if (!request) {
      co_return;
    }
    if (!co_await run.sleep_until(request->due)) {
      taken_.push_back(request->due);
      break;
    }
    n_sent_ += run.recorder().measuring() ? 1 : 0;
    co_await serve(run, worker, number, *std::move(request));
  }
}

/// The run's end cut it off before its first token: it is in no other figure.
void ArrivalsScenario::count_unanswered(Run& run, Clock::time_point due, const Generated& said) {
  const std::optional<Clock::time_point> ended = run.recorder().ended();
  if (ended && due <= *ended && said.tokens == 0 && said.reason != "failed" && !said.to_its_end()) {
    ++n_unanswered_;
    longest_unanswered_ = std::max(longest_unanswered_, std::chrono::nanoseconds(*ended - due));
  }
}

/// Those that were due before the end and still waited for a worker: they are in no other figure.
void ArrivalsScenario::count_unsent(Clock::time_point ended) {
  const auto count = [&](Clock::time_point due) {
    n_unsent_ += due <= ended ? 1 : 0;
    longest_unsent_ = std::max(longest_unsent_, std::chrono::nanoseconds(ended - due));
    return due <= ended;
  };
  for (const Clock::time_point due : taken_) {
    count(due);
  }
  while (const std::optional<Request> request = next_request()) {
    if (!count(request->due)) {
      break;
    }
  }
}

asio::awaitable<void> ArrivalsScenario::execute(Run& run) {
  const Conversations conversations = flags_.conversations();
  arrivals_ = arrivals(run.options().seed);
  talker_.emplace(flags_, conversations, run.options().seed);
  co_await open_workers(run);
  const std::chrono::nanoseconds warmup = run.options().warmup_duration;
  if (warmup.count() == 0) {
    co_await run.begin_measuring();
  }
  start_ = Clock::now();
  std::vector<Run::Task> tasks;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    tasks.emplace_back([this, &run, i] { return serve_all(run, workers_[i], i); });
  }
  // The load is the same before and after: a queue that a warm-up has left goes on.
  tasks.emplace_back([this, &run, warmup]() -> asio::awaitable<void> {
    if (warmup.count() > 0 && co_await run.sleep_until(start_ + warmup)) {
      co_await run.begin_measuring();
    }
  });
  std::exception_ptr failure;
  try {
    co_await run.together(std::move(tasks));
  } catch (...) {
    failure = std::current_exception();
  }
  if (run.stopping()) {
    count_unsent(run.recorder().ended().value_or(Clock::now()));
  }
  talker_.reset();
  if (failure) {
    std::rethrow_exception(failure);
  }
}

void ArrivalsScenario::add_to_report(Run& /*run*/, json::object& report) const {
  report["arrivals"] = {
      {"sent", n_sent_},
      {"not_sent", n_unsent_},
      {"longest_not_sent_ms", std::chrono::duration<double, std::milli>(longest_unsent_).count()},
      {"not_answered", n_unanswered_},
      {"longest_not_answered_ms", std::chrono::duration<double, std::milli>(longest_unanswered_).count()}};
}

}  // namespace

std::unique_ptr<Scenario> make_arrivals_scenario() {
  return std::make_unique<ArrivalsScenario>();
}

}  // namespace condensed::bench
