#include "clients/bench/stream_load.h"

#include <utility>

namespace condensed::bench {

namespace asio = boost::asio;

asio::awaitable<void> StreamLoad::open(Run& run) {
  for (std::int64_t i = 0; i < flags_.sessions && !run.stopping(); ++i) {
    Stream stream{run.connect(), run.session_name(std::to_string(i)),
                  run.options().seed + static_cast<std::uint64_t>(i)};
    co_await run.open(stream.client, stream.session, flags_.open_fields());
    streams_.push_back(std::move(stream));
  }
}

asio::awaitable<void> StreamLoad::generate(Run& run, std::optional<std::int64_t> tokens, Run::OnGap on_gap) {
  std::vector<Run::Task> tasks;
  for (const Stream& stream : streams_) {
    tasks.emplace_back([this, &run, &stream, tokens, on_gap]() -> asio::awaitable<void> {
      co_await run.generate(stream.client, stream.session, flags_.generate_fields(stream.seed, tokens),
                            std::nullopt, on_gap);
    });
  }
  co_await run.together(std::move(tasks));
}

asio::awaitable<void> StreamLoad::warm_up(Run& run) {
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

}  // namespace condensed::bench
