#include "clients/bench/bench_command.h"

#include <ctime>
#include <exception>
#include <unistd.h>
#include <utility>

#include <CLI/CLI.hpp>

#include "clients/bench/daemon_watch.h"
#include "clients/bench/report.h"
#include "clients/bench/run.h"
#include "clients/condensectl/output_file.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr const char* kStandardOutput = "-";

std::chrono::nanoseconds process_cpu_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// What a run has used up to a moment.
struct Spent {
  client::AsyncClient::Work work;
  std::chrono::nanoseconds cpu{0};

  static Spent until_now(const Run& run) { return {run.work(), process_cpu_time()}; }
};

/// A line on the terminal that is always the same one.
class Progress {
 public:
  explicit Progress(Run& run) : run_(run), shown_(::isatty(STDERR_FILENO) == 1) {}

  asio::awaitable<void> show_until_the_end() {
    for (Clock::time_point next = Clock::now();
         shown_ && co_await run_.sleep_until(next += std::chrono::seconds(1));) {
      show();
    }
  }

  void erase() const {
    if (shown_) {
      std::fputs("\r\x1b[K", stderr);
    }
  }

 private:
  void show() const {
    const Recorder& recorder = run_.recorder();
    if (!recorder.began()) {
      std::fputs("\r\x1b[Kwarming up", stderr);
      return;
    }
    const double elapsed_s = std::chrono::duration<double>(recorder.duration(Clock::now())).count();
    const auto tokens = static_cast<double>(recorder.counts().output_tokens);
    const LatencyHistogram& itl = recorder.figure(Figure::itl).histogram;
    std::fprintf(stderr,
                 "\r\x1b[K%.0f s  %.0f tokens  %.0f/s  itl p50 %.3f p99 %.3f max %.1f ms  %lld stalls",
                 elapsed_s, tokens, elapsed_s > 0 ? tokens / elapsed_s : 0,
                 static_cast<double>(itl.value_at_quantile(0.5)) / 1e6,
                 static_cast<double>(itl.value_at_quantile(0.99)) / 1e6, static_cast<double>(itl.max()) / 1e6,
                 static_cast<long long>(recorder.stalls().count()));
  }

  Run& run_;
  bool shown_;
};

/// The whole of a run: the scenario beside those who watch, then the daemon's figures, then what is left.
class Session {
 public:
  Session(Run& run, Scenario& scenario) : run_(run), scenario_(scenario), watch_(run), progress_(run) {}

  asio::awaitable<void> execute() {
    try {
      co_await measure();
    } catch (const std::exception& error) {
      failure_ = std::current_exception();
      ended_ = error.what();
    }
    progress_.erase();
    co_await run_.clean_up();
  }

  void interrupt() {
    ended_ = "interrupted";
    run_.stop();
  }

  /// What ended the run before its time; null if nothing did.
  const std::exception_ptr& failure() const { return failure_; }
  bool interrupted() const { return ended_ == "interrupted"; }

  RunFacts facts() const {
    return {.scenario = scenario_.name(),
            .seed = run_.options().seed,
            .started_at = started_at_,
            .ended = ended_,
            .client_settings = {},
            .daemon_settings = watch_.settings(),
            .first_sample = watch_.first_sample(),
            .before = watch_.before(),
            .after = watch_.after(),
            .work = {.events = after_.work.events - before_.work.events,
                     .busy = after_.work.busy - before_.work.busy},
            .cpu = after_.cpu - before_.cpu};
  }

 private:
  asio::awaitable<void> measure() {
    co_await watch_.connect();
    run_.on_begin([this]() -> asio::awaitable<void> {
      co_await watch_.begin();
      started_at_ = std::chrono::system_clock::now();
      before_ = Spent::until_now(run_);
    });
    std::vector<Run::Task> tasks;
    tasks.emplace_back([this]() -> asio::awaitable<void> {
      co_await scenario_.execute(run_);
      run_.stop();
      after_ = Spent::until_now(run_);
      if (run_.recorder().began()) {
        co_await watch_.finish();
      }
    });
    tasks.emplace_back([this] { return watch_.poll(); });
    tasks.emplace_back([this] { return progress_.show_until_the_end(); });
    co_await run_.together(std::move(tasks));
  }

  Run& run_;
  Scenario& scenario_;
  DaemonWatch watch_;
  Progress progress_;
  std::chrono::system_clock::time_point started_at_;
  Spent before_;
  Spent after_;
  std::string ended_ = "finished";
  std::exception_ptr failure_;
};

void run_to_the_end(Run& run, Session& session) {
  bool finished = false;
  asio::co_spawn(
      run.io(), [&session] { return session.execute(); },
      [&finished](const std::exception_ptr& error) {
        finished = true;
        if (error) {
          std::rethrow_exception(error);
        }
      });
  while (!finished) {
    run.io().restart();
    run.io().run_one();
  }
}

}  // namespace

void BenchCommand::add_shared_flags(CLI::App& command) {
  command.add_option("--duration", flags_.duration, "Measure so long: 30s, 10m, 2h");
  command.add_option("--warmup-duration", flags_.warmup_duration, "Run so long before anything is counted");
  command.add_option("--seed", flags_.seed, "The same seed gives the same load and the same text")
      ->capture_default_str();
  command.add_option("--slo", flags_.slo, "Limits that good requests keep: ttft=200ms,itl=50ms");
  command
      .add_option("--stall-threshold", flags_.stall_threshold,
                  "List the tokens that came later than this after the one before")
      ->capture_default_str();
  command.add_option("--json", flags_.json_path, "Write the report here; - is standard output");
}

void BenchCommand::add_to(CLI::App& bench, const std::function<void()>& chosen) {
  bench.require_subcommand(1);
  for (const std::unique_ptr<Scenario>& scenario : scenarios_) {
    CLI::App* const command = bench.add_subcommand(scenario->name(), scenario->description());
    scenario->add_flags(*command);
    add_shared_flags(*command);
    command->callback([this, chosen, each = scenario.get()] {
      chosen_ = each;
      chosen();
    });
  }
}

int BenchCommand::run(ctl::Context& context, const std::string& socket_path, const std::string& user) {
  RunOptions options{.socket_path = socket_path, .user = user, .seed = flags_.seed, .slo = Slo(flags_.slo)};
  options.stall_threshold = parsed_duration(flags_.stall_threshold, "--stall-threshold");
  if (flags_.duration) {
    options.duration = parsed_duration(*flags_.duration, "--duration");
  }
  if (flags_.warmup_duration) {
    options.warmup_duration = parsed_duration(*flags_.warmup_duration, "--warmup-duration");
  }
  const json::object client_settings = chosen_->settings();
  std::optional<ctl::OutputFile> json_file;
  if (!flags_.json_path.empty() && flags_.json_path != kStandardOutput) {
    json_file.emplace(flags_.json_path);
  }

  Run run(context.client.io(), options);
  Session session(run, *chosen_);
  {
    const ctl::Interrupt::Instead interrupt(context.interrupt, [&session] { session.interrupt(); });
    run_to_the_end(run, session);
  }
  if (!run.recorder().began()) {
    if (session.failure()) {
      std::rethrow_exception(session.failure());
    }
    throw ctl::Interrupted();
  }
  RunFacts facts = session.facts();
  facts.client_settings = client_settings;
  json::object report = report_json(facts, run.recorder());
  chosen_->add_to_report(run, report);
  const std::string text = json::serialize(report) + "\n";
  if (json_file) {
    json_file->write(text);
    json_file->finish();
  }
  context.terminal.show(flags_.json_path == kStandardOutput ? text : report_table(report));
  if (session.failure()) {
    std::rethrow_exception(session.failure());
  }
  return session.interrupted() ? ctl::kInterruptedExit : run.recorder().counts().failed > 0 ? 1 : 0;
}

}  // namespace condensed::bench
