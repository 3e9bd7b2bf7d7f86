#include "clients/bench/run.h"

#include <exception>
#include <stdexcept>
#include <unistd.h>
#include <utility>

#include "clients/cpp/client.h"
#include "clients/cpp/wire.h"

namespace condensed::bench {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

/// Has a value in a set for as long as this lives.
template <typename Value>
class Member {
 public:
  Member(std::set<Value>& set, Value value) : set_(set), value_(value) { set_.insert(value); }
  ~Member() { set_.erase(value_); }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

 private:
  std::set<Value>& set_;
  Value value_;
};

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);

}  // namespace

Run::Run(asio::io_context& io, RunOptions options)
    : io_(io),
      options_(std::move(options)),
      prefix_("bench-" + std::to_string(::getpid()) + "-"),
      recorder_(options_.slo, options_.stall_threshold),
      over_(io) {}

Run::~Run() {
  for (const ClientPtr& client : clients_) {
    client->close();
  }
}

Run::ClientPtr Run::connect() {
  clients_.push_back(client::AsyncClient::connect(io_, options_.socket_path, options_.user));
  return clients_.back();
}

asio::awaitable<void> Run::open(const ClientPtr& client, std::string session, json::object fields) {
  fields["op"] = "open";
  fields["session"] = session;
  const client::AsyncClient::Answer answer = co_await client->call(std::move(fields));
  leave_alone_if_there(session, answer.event);
  adopt(session);
}

void Run::leave_alone_if_there(const std::string& session, const json::object& opened) {
  if (opened.at("existed").as_bool()) {
    forget(session);
    throw std::runtime_error("the session " + session +
                             " is there already and left alone; close it if an earlier run left it");
  }
}

asio::awaitable<std::optional<client::AsyncClient::Answer>> Run::try_call(const ClientPtr& client,
                                                                          json::object request,
                                                                          bool* refused) {
  try {
    co_return co_await client->call(std::move(request), refused);
  } catch (const client::RequestFailed& error) {
    recorder_.record_failed(error.code(), Clock::now());
  }
  co_return std::nullopt;
}

asio::awaitable<Generated> Run::generate(const ClientPtr& client, std::string session, json::object options,
                                         std::optional<Clock::time_point> due, OnGap on_gap,
                                         const bool* refused) {
  const auto is_void = [refused] { return refused != nullptr && *refused; };
  if (stopping_) {
    co_return Generated{.tokens = 0, .reason = "not begun", .done = {}, .ended = Clock::now()};
  }
  options["session"] = session;
  if (accounts_) {
    options["account_above_ms"] = std::chrono::duration<double, std::milli>(options_.stall_threshold).count();
  }
  const Active active{client, session};
  const Member<const Active*> member(active_, &active);
  const Clock::time_point asked = Clock::now();
  GenerationTimer timer(recorder_, session, due.value_or(asked));
  Generated generated;
  try {
    client::AsyncClient::Answer answer = co_await client->generate(
        std::move(options), [&](const json::object& token, Clock::time_point arrived) {
          if (is_void()) {
            return;
          }
          if (on_gap && timer.latest()) {
            on_gap(*timer.latest(), arrived);
          }
          timer.token(token.at("position").as_int64(), arrived, token.if_contains("account"));
        });
    if (due && !is_void()) {
      timer.sent_late(answer.sent);
    }
    generated.done = std::move(answer.event);
    generated.reason = client::text_at(generated.done, "reason");
    if (generated.reason == "shutdown") {
      throw client::ConnectionLost("the daemon stopped before the run ended");
    }
    generated.ended = answer.arrived;
    if (is_void()) {
      generated.reason = "failed";
    } else {
      timer.done(answer.arrived, generated.to_its_end());
    }
  } catch (const client::RequestFailed& error) {
    generated.ended = Clock::now();
    generated.reason = "failed";
    if (!is_void()) {
      recorder_.record_failed(error.code(), generated.ended);
    }
  }
  generated.tokens = timer.tokens();
  co_return generated;
}

asio::awaitable<void> Run::together(std::vector<Task> tasks) {
  std::size_t left = tasks.size();
  std::exception_ptr first_error;
  asio::steady_timer finished(io_, Clock::time_point::max());
  for (const Task& task : tasks) {
    asio::co_spawn(io_, task, [&](const std::exception_ptr& error) {
      first_error = first_error ? first_error : error;
      if (error) {
        stop();
      }
      if (--left == 0) {
        finished.cancel();
      }
    });
  }
  while (left > 0) {
    co_await finished.async_wait(kQuietly);
  }
  if (first_error) {
    std::rethrow_exception(first_error);
  }
}

asio::awaitable<bool> Run::sleep_until(Clock::time_point when) {
  asio::steady_timer timer(io_, when);
  const Member<asio::steady_timer*> member(sleeping_, &timer);
  if (!stopping_) {
    co_await timer.async_wait(kQuietly);
  }
  co_return !stopping_;
}

asio::awaitable<void> Run::begin_measuring() {
  if (stopping_) {
    co_return;
  }
  if (on_begin_) {
    co_await on_begin_();
  }
  if (stopping_) {  // meanwhile
    co_return;
  }
  const Clock::time_point now = Clock::now();
  recorder_.begin(now);
  if (options_.duration) {
    over_.expires_at(now + *options_.duration);
    over_.async_wait([this](const boost::system::error_code& error) {
      if (!error) {
        stop();
      }
    });
  }
}

void Run::stop() {
  if (std::exchange(stopping_, true)) {
    return;
  }
  recorder_.end(Clock::now());
  over_.cancel();
  cancel_generations();
  for (asio::steady_timer* const timer : sleeping_) {
    timer->cancel();
  }
}

void Run::cancel_generations() {
  for (const Active* const active : active_) {
    cancel(*active);
  }
}

void Run::cancel(const Active& active) {
  json::object request{{"op", "cancel"}, {"session", active.session}};
  active.client->send(std::move(request));
}

asio::awaitable<void> Run::clean_up() {
  stop();
  try {
    const ClientPtr client = clients_.empty() ? nullptr : clients_.front();
    while (client && !sessions_.empty()) {
      json::object request{{"op", "close"}, {"session", *sessions_.begin()}};
      sessions_.erase(sessions_.begin());
      try {
        co_await client->call(std::move(request));
      } catch (const client::RequestFailed&) {
        // It is gone already.
      }
    }
  } catch (const client::ConnectionLost&) {
    // The daemon has gone; whoever ran the scenario knows.
  }
  for (const ClientPtr& each : clients_) {
    each->close();
  }
}

client::AsyncClient::Work Run::work() const {
  client::AsyncClient::Work sum;
  for (const ClientPtr& each : clients_) {
    sum.events += each->work().events;
    sum.busy += each->work().busy;
  }
  return sum;
}

asio::awaitable<void> Run::find_out_accounts(const ClientPtr& client) {
  // The session has never been; a daemon that knows the key gets as far as saying so.
  json::object request{{"op", "generate"}, {"session", session_name("none")}, {"account_above_ms", 1}};
  try {
    co_await client->call(std::move(request));
  } catch (const client::RequestFailed& error) {
    accounts_ = error.code() == "unknown_session";
  }
}

}  // namespace condensed::bench
