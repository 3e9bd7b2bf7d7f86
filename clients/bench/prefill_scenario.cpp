// Long inputs beside running streams: what reading them costs the streams' tokens.

#include <limits>
#include <random>
#include <utility>

#include <CLI/CLI.hpp>

#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/bench/stream_load.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kDefaultPhase{5};
constexpr int kDefaultRounds = 3;
constexpr std::chrono::milliseconds kAfterRefusal{100};

/// Time in turns without input and with it.
class Phases {
 public:
  Phases(Clock::time_point begin, Clock::duration length) : begin_(begin), length_(length) {}

  bool with_input(Clock::time_point at) const { return (at - begin_) / length_ % 2 == 1; }
  Clock::time_point next_after(Clock::time_point at) const {
    return begin_ + ((at - begin_) / length_ + 1) * length_;
  }

 private:
  Clock::time_point begin_;
  Clock::duration length_;
};

class PrefillScenario : public Scenario {
 public:
  std::string name() const override { return "prefill"; }
  std::string description() const override {
    return "Streams with and without long inputs to other sessions";
  }
  void add_flags(CLI::App& command) override;
  json::object settings() const override;
  asio::awaitable<void> execute(Run& run) override;
  void add_to_report(Run& run, json::object& report) const override;

 private:
  Clock::duration phase_length(const RunOptions& options) const;
  /// Appends to one session, again and again, in the phases with input.
  asio::awaitable<void> append(Run& run, Run::ClientPtr client, std::string session, Phases phases);
  void count_gap(Recorder& recorder, Clock::time_point previous, Clock::time_point arrived) const;

  StreamFlags flags_;
  std::int64_t input_tokens_ = 2000;
  std::int64_t inputs_ = 1;
  std::string phase_;

  std::mt19937_64 random_;
  std::int64_t vocabulary_ = 1;
  std::int64_t under_way_ = 0;     // appends that are not answered yet
  Clock::time_point last_change_;  // when that went to or from 0
  Figure without_{};
  Figure with_{};
  Figure append_{};
};

void PrefillScenario::add_flags(CLI::App& command) {
  flags_.add_to(command);
  command.add_option("--input-tokens", input_tokens_, "Tokens of each input, drawn at random")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100000}))
      ->capture_default_str();
  command.add_option("--inputs", inputs_, "Sessions that inputs are appended to at once")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}))
      ->capture_default_str();
  command.add_option("--phase", phase_,
                     "Length of the turns without and with input; default: a sixth of --duration, or 5s");
}

json::object PrefillScenario::settings() const {
  json::object all = flags_.settings();
  all["input_tokens"] = input_tokens_;
  all["inputs"] = inputs_;
  if (!phase_.empty() && parsed_duration(phase_, "--phase").count() == 0) {
    throw std::invalid_argument("--phase " + phase_ + ": expected more than 0");
  }
  all["phase"] = phase_;
  return all;
}

Clock::duration PrefillScenario::phase_length(const RunOptions& options) const {
  if (!phase_.empty()) {
    return parsed_duration(phase_, "--phase");
  }
  return options.duration ? std::max<Clock::duration>(*options.duration / (2 * kDefaultRounds), kAfterRefusal)
                          : Clock::duration(kDefaultPhase);
}

asio::awaitable<void> PrefillScenario::append(Run& run, Run::ClientPtr client, std::string session,
                                              Phases phases) {
  std::uniform_int_distribution<std::int64_t> token(vocabulary_ / 2, vocabulary_ - 1);  // no control tokens
  while (!run.stopping()) {
    if (const Clock::time_point now = Clock::now(); !phases.with_input(now)) {
      co_await run.sleep_until(phases.next_after(now));
      continue;
    }
    json::array ids;
    for (std::int64_t i = 0; i < input_tokens_; ++i) {
      ids.emplace_back(token(random_));
    }
    json::object request{{"op", "append"}, {"session", session}};
    request["tokens"] = std::move(ids);
    last_change_ = under_way_++ == 0 ? Clock::now() : last_change_;
    const std::optional<client::AsyncClient::Answer> answer =
        co_await run.try_call(client, std::move(request));
    last_change_ = --under_way_ == 0 ? Clock::now() : last_change_;
    if (answer) {
      run.recorder().record(append_, answer->sent, answer->arrived);
      run.recorder().record_input(input_tokens_, answer->arrived);
    } else {
      co_await run.sleep_until(Clock::now() + kAfterRefusal);
    }
  }
}

/// A gap belongs to the input if some was under way in any part of it.
void PrefillScenario::count_gap(Recorder& recorder, Clock::time_point previous,
                                Clock::time_point arrived) const {
  const bool beside_input = under_way_ > 0 || last_change_ >= previous;
  recorder.record(beside_input ? with_ : without_, previous, arrived);
}

asio::awaitable<void> PrefillScenario::execute(Run& run) {
  Recorder& recorder = run.recorder();
  without_ = recorder.add_figure("itl_without_input");
  with_ = recorder.add_figure("itl_with_input");
  append_ = recorder.add_figure("append");
  random_.seed(run.options().seed);
  StreamLoad load(flags_);
  co_await load.open(run);
  std::vector<std::pair<Run::ClientPtr, std::string>> readers;
  for (std::int64_t i = 0; i < inputs_; ++i) {
    readers.emplace_back(run.connect(), run.session_name("input-" + std::to_string(i)));
    co_await run.open(readers.back().first, readers.back().second, flags_.open_fields());
  }
  json::object stat{{"op", "stat"}};
  vocabulary_ = (co_await readers.front().first->call(std::move(stat))).event.at("vocab_size").as_int64();
  co_await load.warm_up(run);
  co_await run.begin_measuring();
  const Phases phases(Clock::now(), phase_length(run.options()));
  std::vector<Run::Task> tasks;
  tasks.emplace_back([this, &run, &load]() -> asio::awaitable<void> {
    co_await load.generate(run, flags_.tokens,
                           [this, &run](Clock::time_point previous, Clock::time_point now) {
                             count_gap(run.recorder(), previous, now);
                           });
    run.stop();
  });
  for (const auto& [client, session] : readers) {
    tasks.emplace_back([this, &run, client = client, session = session, phases] {
      return append(run, client, session, phases);
    });
  }
  co_await run.together(std::move(tasks));
}

void PrefillScenario::add_to_report(Run& run, json::object& report) const {
  const double phase_s = std::chrono::duration<double>(phase_length(run.options())).count();
  report["prefill"] = {{"phase_s", phase_s},
                       {"appends", run.recorder().figure(append_).histogram.count()},
                       {"tokens_per_append", input_tokens_}};
}

}  // namespace

std::unique_ptr<Scenario> make_prefill_scenario() {
  return std::make_unique<PrefillScenario>();
}

}  // namespace condensed::bench
