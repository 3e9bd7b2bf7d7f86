#include "clients/bench/daemon_watch.h"

#include <chrono>
#include <string>

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kInterval{1};

DaemonSample sample_of(const json::object& stat) {
  const auto number = [&](std::string_view key) { return stat.at(key).to_number<std::int64_t>(); };
  return {.resident_bytes = number("resident_bytes"),
          .cache_bytes = number("cache_bytes"),
          .evictions = number("evictions"),
          .steps = number("steps"),
          .rows = number("tokens_read") + number("tokens_generated"),
          .sessions_resident = number("sessions") - number("asleep"),
          .sessions_asleep = number("asleep")};
}

}  // namespace

asio::awaitable<json::object> DaemonWatch::stat() {
  json::object request{{"op", "stat"}};
  const client::AsyncClient::Answer answer = co_await client_->call(std::move(request));
  co_return answer.event;
}

asio::awaitable<ctl::Exposition> DaemonWatch::metrics() {
  json::object request{{"op", "metrics"}};
  const client::AsyncClient::Answer answer = co_await client_->call(std::move(request));
  co_return ctl::Exposition(std::string_view(answer.event.at("text").as_string()));
}

asio::awaitable<void> DaemonWatch::connect() {
  client_ = run_.connect();
  co_await run_.find_out_accounts(client_);
  const json::object now = co_await stat();
  for (const char* key : {"version", "model", "backend", "n_layers", "n_owners", "vocab_size", "weight_bytes",
                          "cache_dtype", "cache_bytes_per_token", "max_sessions", "max_resident_sessions",
                          "max_cache_bytes", "threads", "settings"}) {
    if (const json::value* const value = now.if_contains(key)) {
      settings_[key] = *value;
    }
  }
}

asio::awaitable<void> DaemonWatch::begin() {
  before_ = co_await metrics();
  first_sample_ = sample_of(co_await stat());
}

asio::awaitable<void> DaemonWatch::poll() {
  for (Clock::time_point next = Clock::now() + kInterval; co_await run_.sleep_until(next);
       next += kInterval) {
    const DaemonSample sample = sample_of(co_await stat());
    run_.recorder().record_sample(sample, Clock::now());
  }
}

asio::awaitable<void> DaemonWatch::finish() {
  after_ = co_await metrics();
  run_.recorder().record_sample(sample_of(co_await stat()), Clock::now());
}

}  // namespace condensed::bench
