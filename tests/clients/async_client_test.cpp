#include "clients/cpp/async_client.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "clients/bench/run.h"
#include "clients/cpp/client.h"
#include "tests/clients/fake_daemon.h"

namespace condensed::client {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

std::string event(const json::object& request, const std::string& rest) {
  return R"({"id":)" + json::serialize(request.at("id")) + R"(,"event":)" + rest + "}\n";
}

std::string token(const json::object& request, int position) {
  return event(request,
               R"("token","session":"s","text":"a","token":5,"position":)" + std::to_string(position));
}

/// Runs a coroutine to its end; what it throws comes out.
void drive(asio::io_context& io, std::function<asio::awaitable<void>()> coroutine) {
  bool finished = false;
  asio::co_spawn(io, std::move(coroutine), [&finished](const std::exception_ptr& error) {
    finished = true;
    if (error) {
      std::rethrow_exception(error);
    }
  });
  while (!finished) {
    io.restart();
    io.run_one();
  }
}

TEST(AsyncClient, TokensOfOneReadCameTogetherAndThoseOfAnotherLater) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object generate = peer.read();
    EXPECT_EQ(generate.at("op"), "generate");
    peer.write(token(generate, 1) + token(generate, 2));
    peer.read();  // the client has seen both
    peer.write(token(generate, 3) + event(generate, R"("done","reason":"length")"));
  });
  asio::io_context io;
  const auto client = AsyncClient::connect(io, daemon.path(), "");
  std::vector<AsyncClient::Clock::time_point> arrivals;
  std::vector<std::int64_t> positions;
  const auto began = AsyncClient::Clock::now();
  drive(io, [&]() -> asio::awaitable<void> {
    json::object request{{"session", "s"}};
    const auto on_token = [&](const json::object& each, AsyncClient::Clock::time_point arrived) {
      arrivals.push_back(arrived);
      positions.push_back(each.at("position").as_int64());
      if (positions.size() == 2) {
        client->send({{"op", "ping"}});
      }
    };
    const AsyncClient::Answer done = co_await client->generate(std::move(request), on_token);
    EXPECT_EQ(done.event.at("reason"), "length");
    EXPECT_GE(done.sent, began);
    EXPECT_EQ(done.arrived, arrivals.back());
    client->close();
  });
  EXPECT_EQ(positions, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_GE(arrivals[0], began);
  EXPECT_EQ(arrivals[0], arrivals[1]);
  EXPECT_GT(arrivals[2], arrivals[1]);
  EXPECT_EQ(client->work().events, 4);
}

TEST(AsyncClient, AnswersFindTheirRequestsInAnyOrderAndPieces) {
  const std::string long_text(300000, 'x');
  FakeDaemon daemon([&](FakeDaemon::Peer& peer) {
    const json::object first = peer.read();
    const json::object second = peer.read();
    EXPECT_EQ(second.at("user"), "alice");
    peer.write(event(second, R"("b","text":")" + long_text + '"'));
    for (const char byte : event(first, R"("a")")) peer.write(std::string(1, byte));
  });
  asio::io_context io;
  const auto client = AsyncClient::connect(io, daemon.path(), "alice");
  int answered = 0;
  const auto ask = [&](const char* op, const char* expected) -> asio::awaitable<void> {
    json::object request{{"op", op}};
    const AsyncClient::Answer answer = co_await client->call(std::move(request));
    EXPECT_EQ(answer.event.at("event"), expected);
    EXPECT_TRUE(answer.event.size() == 2 ||
                answer.event.at("text").as_string() == std::string_view(long_text));
    if (++answered == 2) {
      client->close();
    }
  };
  asio::co_spawn(io, ask("ping", "a"), asio::detached);
  asio::co_spawn(io, ask("list", "b"), asio::detached);
  io.run();
  EXPECT_EQ(answered, 2);
}

TEST(AsyncClient, ARefusalLeavesTheConnectionAndItsEndIsForAllWhoWait) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    peer.write(event(peer.read(), R"("error","code":"c","message":"m")"));
    peer.read();
  });
  asio::io_context io;
  const auto client = AsyncClient::connect(io, daemon.path(), "");
  drive(io, [&]() -> asio::awaitable<void> {
    for (const bool refused : {true, false}) {
      json::object request{{"op", "ping"}};
      std::string thrown;
      try {
        co_await client->call(std::move(request));
      } catch (const RequestFailed& error) {
        thrown = error.code();
      } catch (const ConnectionLost&) {
        thrown = "lost";
      }
      EXPECT_EQ(thrown, refused ? "c" : "lost");
    }
  });
  EXPECT_THROW(AsyncClient::connect(io, "/nowhere/socket", ""), ConnectionLost);
}

bench::Generated generated(asio::io_context& io, bench::Run& run, const bench::Run::ClientPtr& client,
                           bench::Run::OnGap on_gap = nullptr) {
  bench::Generated out;
  drive(io, [&]() -> asio::awaitable<void> {
    json::object options{{"seed", 7}};
    out = co_await run.generate(client, "s", std::move(options), std::nullopt, on_gap);
  });
  return out;
}

TEST(Run, RecordsWhatTheDaemonSentAndWhatItRefused) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object first = peer.read();
    EXPECT_EQ(first.at("seed"), 7);
    for (int position = 100; position < 110; ++position) peer.write(token(first, position));
    peer.write(event(first, R"("done","reason":"length")"));
    peer.write(event(peer.read(), R"("error","code":"memory_limit","message":"m")"));
    const json::object cut = peer.read();
    peer.write(token(cut, 110) + token(cut, 111));
    EXPECT_EQ(peer.read().at("op"), "cancel");
    peer.write(token(cut, 112));  // after the run's end
    peer.write(event(cut, R"("done","reason":"cancelled")"));
  });
  asio::io_context io;
  bench::Run run(io, {.socket_path = daemon.path()});
  const auto client = run.connect();
  drive(io, [&] { return run.begin_measuring(); });
  const bench::Generated first = generated(io, run, client);
  EXPECT_EQ(first.tokens, 10);
  EXPECT_EQ(first.reason, "length");
  EXPECT_EQ(generated(io, run, client).reason, "failed");
  const auto stop = [&run](bench::Clock::time_point, bench::Clock::time_point) { run.stop(); };
  EXPECT_EQ(generated(io, run, client, stop).reason, "cancelled");
  EXPECT_EQ(generated(io, run, client).reason, "not begun");
  const bench::Recorder& recorder = run.recorder();
  EXPECT_EQ(recorder.figure(bench::Figure::itl).histogram.count(), 10);
  EXPECT_EQ(recorder.figure(bench::Figure::ttft).histogram.count(), 2);
  EXPECT_EQ(recorder.figure(bench::Figure::e2el).histogram.count(), 1);
  EXPECT_EQ(recorder.counts().output_tokens, 12);
  EXPECT_EQ(recorder.counts().completed, 1);
  EXPECT_EQ(recorder.counts().errors, (std::map<std::string, std::int64_t>{{"memory_limit", 1}}));
  std::int64_t in_bins = 0;
  for (const auto& [index, bin] : recorder.by_position().bins()) {
    EXPECT_GE(index, 101);
    EXPECT_TRUE(index <= 109 || index == 111);
    in_bins += bin.count();
  }
  EXPECT_EQ(in_bins, 10);
}

}  // namespace
}  // namespace condensed::client
