// One or many endless generations, each on a session and a connection of its own.

#include <utility>

#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "clients/bench/stream_flags.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

class StreamScenario : public Scenario {
 public:
  std::string name() const override { return "stream"; }
  std::string description() const override { return "One or many generations without end, or of --tokens"; }
  void add_flags(CLI::App& command) override { flags_.add_to(command); }
  json::object settings() const override { return flags_.settings(); }
  asio::awaitable<void> execute(Run& run) override;

 private:
  struct Stream {
    Run::ClientPtr client;
    std::string session;
    std::uint64_t seed = 0;
  };

  asio::awaitable<void> open(Run& run);
  /// All streams generate, until they have so many tokens or are cancelled.
  asio::awaitable<void> generate(Run& run, std::optional<std::int64_t> tokens);
  asio::awaitable<void> warm_up(Run& run);

  StreamFlags flags_;
  std::vector<Stream> streams_;
};

asio::awaitable<void> StreamScenario::open(Run& run) {
  for (std::int64_t i = 0; i < flags_.sessions && !run.stopping(); ++i) {
    Stream stream{run.connect(), run.session_name(std::to_string(i)),
                  run.options().seed + static_cast<std::uint64_t>(i)};
    co_await run.open(stream.client, stream.session, flags_.open_fields());
    streams_.push_back(std::move(stream));
  }
}

asio::awaitable<void> StreamScenario::generate(Run& run, std::optional<std::int64_t> tokens) {
  std::vector<Run::Task> tasks;
  for (const Stream& stream : streams_) {
    tasks.emplace_back([this, &run, &stream, tokens]() -> asio::awaitable<void> {
      co_await run.generate(stream.client, stream.session, flags_.generate_fields(stream.seed, tokens));
    });
  }
  co_await run.together(std::move(tasks));
}

asio::awaitable<void> StreamScenario::warm_up(Run& run) {
  if (flags_.warmup_tokens > 0) {
    co_await generate(run, flags_.warmup_tokens);
  }
  if (run.options().warmup_duration.count() > 0) {
    std::vector<Run::Task> tasks;
    tasks.emplace_back([this, &run] { return generate(run, std::nullopt); });
    tasks.emplace_back([&run]() -> asio::awaitable<void> {
      co_await run.sleep_until(Clock::now() + run.options().warmup_duration);
      run.cancel_generations();
    });
    co_await run.together(std::move(tasks));
  }
}

asio::awaitable<void> StreamScenario::execute(Run& run) {
  co_await open(run);
  co_await warm_up(run);
  co_await run.begin_measuring();
  co_await generate(run, flags_.tokens);
}

}  // namespace

std::unique_ptr<Scenario> make_stream_scenario() {
  return std::make_unique<StreamScenario>();
}

}  // namespace condensed::bench
