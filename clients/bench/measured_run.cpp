#include "clients/bench/measured_run.h"

#include <ctime>
#include <utility>
#include <vector>

#include "clients/cpp/client.h"

namespace condensed::bench {

namespace asio = boost::asio;

MeasuredRun::Spent MeasuredRun::spent() const {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return {run_.work(), std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec)};
}

void MeasuredRun::run_to_the_end() {
  bool finished = false;
  asio::co_spawn(
      run_.io(), [this] { return execute(); },
      [&finished](const std::exception_ptr& error) {
        finished = true;
        if (error) {
          std::rethrow_exception(error);
        }
      });
  while (!finished) {
    run_.io().restart();
    run_.io().run_one();
  }
}

void MeasuredRun::interrupt() {
  interrupted_ = true;
  ended_ = "interrupted";
  run_.stop();
}

asio::awaitable<void> MeasuredRun::execute() {
  try {
    co_await measure();
  } catch (const client::RequestFailed& error) {
    // Whoever notices first that the daemon stops, it is the same end.
    failure_ = error.code() == "shutting_down" ? std::make_exception_ptr(client::ConnectionLost(error.what()))
                                               : std::current_exception();
    ended_ = error.what();
  } catch (const std::exception& error) {
    failure_ = std::current_exception();
    ended_ = error.what();
  }
  if (failure_) {
    after_ = spent();
  }
  progress_.erase();
  co_await run_.clean_up();
}

asio::awaitable<void> MeasuredRun::measure() {
  co_await watch_.connect();
  run_.on_begin([this]() -> asio::awaitable<void> {
    co_await watch_.begin();
    started_at_ = std::chrono::system_clock::now();
    before_ = spent();
  });
  std::vector<Run::Task> tasks;
  tasks.emplace_back([this]() -> asio::awaitable<void> {
    co_await scenario_.execute(run_);
    run_.stop();
    after_ = spent();
    if (run_.recorder().began()) {
      co_await watch_.finish();
    }
  });
  tasks.emplace_back([this] { return watch_.poll(); });
  tasks.emplace_back([this] { return progress_.show_until_the_end(); });
  co_await run_.together(std::move(tasks));
}

RunFacts MeasuredRun::facts(const boost::json::object& client_settings) const {
  return {.scenario = scenario_.name(),
          .seed = run_.options().seed,
          .started_at = started_at_,
          .ended = ended_,
          .client_settings = client_settings,
          .daemon_settings = watch_.settings(),
          .first_sample = watch_.first_sample(),
          .before = watch_.before(),
          .after = watch_.after(),
          .work = {.events = after_.work.events - before_.work.events,
                   .busy = after_.work.busy - before_.work.busy},
          .cpu = after_.cpu - before_.cpu};
}

}  // namespace condensed::bench
