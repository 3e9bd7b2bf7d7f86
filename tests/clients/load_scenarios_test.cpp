// Scenarios against a daemon that follows a script.

#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include "clients/bench/run.h"
#include "clients/bench/scenario.h"
#include "tests/clients/fake_daemon.h"

namespace condensed::bench {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using client::FakeDaemon;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

std::string answer(const json::object& request, json::object event) {
  event["id"] = request.at("id");
  event["session"] = request.at("session");
  return json::serialize(event) + "\n";
}

/// What comes of a generation of one token.
std::string token_and_done(const json::object& generate) {
  return answer(generate, {{"event", "token"}, {"text", "x"}, {"token", 5}, {"position", 9}}) +
         answer(generate, {{"event", "done"},
                           {"reason", "length"},
                           {"text", ""},
                           {"position", 10},
                           {"usage", {{"prompt_tokens", 9}, {"completion_tokens", 1}}}});
}

void answer_open(FakeDaemon::Peer& peer) {
  const json::object open = peer.read();
  EXPECT_EQ(open.at("op"), "open");
  peer.write(answer(open, {{"event", "opened"}, {"existed", false}, {"position", 1}}));
}

/// Answers whatever closes things, until the client has gone.
void answer_the_rest(FakeDaemon::Peer& peer) {
  for (;;) {
    const json::object request = peer.read();
    peer.write(answer(request, {{"event", "closed"}, {"position", 10}}));
  }
}

/// Reads the input and the generate of one request. Nothing is answered: both must come by themselves.
json::object read_turn(FakeDaemon::Peer& peer, std::string* text = nullptr) {
  const json::object append = peer.read();
  EXPECT_EQ(append.at("op"), "append");
  if (text != nullptr) {
    *text = std::string(append.at("text").as_string());
  }
  json::object generate = peer.read();
  EXPECT_EQ(generate.at("op"), "generate");
  peer.write(answer(append, {{"event", "appended"}, {"tokens", 9}, {"position", 10}}));
  return generate;
}

/// A scenario's run from its flags to its report.
struct Finished {
  Finished(std::unique_ptr<Scenario> scenario, const std::string& flags, RunOptions options)
      : run(io, std::move(options)) {
    CLI::App app;
    scenario->add_flags(app);
    app.parse(flags);
    settings = scenario->settings();
    std::exception_ptr failure;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          co_await scenario->execute(run);
          co_await run.clean_up();
        },
        [&failure](const std::exception_ptr& error) { failure = error; });
    io.run();
    if (failure) {
      std::rethrow_exception(failure);
    }
    scenario->add_to_report(run, report);
  }

  asio::io_context io;
  Run run;
  json::object settings;
  json::object report;
};

class LoadScenariosTest : public testing::Test {
 public:
  ~LoadScenariosTest() override { std::filesystem::remove(file_); }

 protected:
  std::string file_with(const std::string& text) {
    std::ofstream(file_) << text;
    return file_;
  }

  std::string file_ = std::filesystem::temp_directory_path() /
                      ("condensed-scenario-" + std::to_string(::getpid()) + "-" +
                       testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(LoadScenariosTest, ATurnIsAppendedAndAnsweredInTheSameSession) {
  std::promise<std::vector<std::string>> said;
  FakeDaemon daemon([&said](FakeDaemon::Peer& peer) {
    answer_open(peer);
    std::vector<std::string> texts(3);
    for (std::string& text : texts) {
      const json::object generate = read_turn(peer, &text);
      EXPECT_EQ(generate.at("ignore_eos"), true);
      EXPECT_GE(generate.at("max_tokens").as_int64(), 1);
      peer.write(token_and_done(generate));
    }
    said.set_value(texts);
    answer_the_rest(peer);
  });
  const std::string turns = file_with("first\nsecond\n");
  Finished finished(make_conversation_scenario(),
                    "--users 1 --turns 2 --think-ms 0 --template <{}> --turns-file " + turns,
                    {.socket_path = daemon.path()});
  EXPECT_EQ(said.get_future().get(), (std::vector<std::string>{"<first>", "<second>", "<first>"}));
  const Recorder& recorder = finished.run.recorder();
  EXPECT_EQ(recorder.counts().completed, 2);  // the one before was the warm-up
  EXPECT_EQ(recorder.counts().input_tokens, 2 * 9);
  EXPECT_EQ(recorder.counts().output_tokens, 2);
  EXPECT_EQ(finished.report.at("conversation").at("turns"), 2);
}

TEST_F(LoadScenariosTest, AnAnswerToInputThatWasRefusedIsAFailureAndNotAGoodRequest) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    answer_open(peer);
    const json::object append = peer.read();
    const json::object generate = peer.read();
    peer.write(answer(append, {{"event", "error"}, {"code", "append_limit"}, {"message", "too much"}}));
    peer.write(token_and_done(generate));
    answer_the_rest(peer);
  });
  Finished finished(make_conversation_scenario(),
                    "--users 1 --turns 1 --warmup-turns 0 --think-ms 0 --turns-file " + file_with("first\n"),
                    {.socket_path = daemon.path()});
  const Recorder& recorder = finished.run.recorder();
  EXPECT_EQ(recorder.counts().completed, 0);
  EXPECT_EQ(recorder.counts().failed, 1);
  EXPECT_EQ(recorder.counts().output_tokens, 0);
  EXPECT_TRUE(recorder.figure(Figure::ttft).histogram.empty());
  EXPECT_EQ(finished.report.at("conversation").at("turns"), 0);
}

TEST_F(LoadScenariosTest, WaitingForThoseBeforeIsCounted) {
  constexpr milliseconds kFirstTakes{60};
  FakeDaemon daemon([&](FakeDaemon::Peer& peer) {
    answer_open(peer);
    for (int i = 0; i < 3; ++i) {
      const json::object generate = read_turn(peer);
      EXPECT_EQ(generate.at("max_tokens"), i + 1);
      if (i == 0) {
        std::this_thread::sleep_for(kFirstTakes);
      }
      peer.write(token_and_done(generate));
    }
    answer_the_rest(peer);
  });
  const std::string trace = file_with("0 1\n0.010 2\n0.020 3\n");
  Finished finished(make_arrivals_scenario(), "--outstanding 1 --keep-sessions --trace " + trace,
                    {.socket_path = daemon.path()});
  const LatencyHistogram& wait = finished.run.recorder().figure(Figure::wait).histogram;
  EXPECT_EQ(wait.count(), 3);
  // The second was due after 10 ms and the third after 20, and the first was under way until then.
  EXPECT_GE(wait.max(), nanoseconds(kFirstTakes - milliseconds(10)).count());
  EXPECT_GE(wait.value_at_quantile(0.5), nanoseconds(kFirstTakes - milliseconds(20)).count());
  const LatencyHistogram& ttft = finished.run.recorder().figure(Figure::ttft).histogram;
  EXPECT_GE(ttft.value_at_quantile(0.3), nanoseconds(kFirstTakes - milliseconds(20)).count());
  EXPECT_EQ(finished.report.at("arrivals").at("sent"), 3);
  EXPECT_EQ(finished.report.at("arrivals").at("not_sent"), 0);
}

TEST_F(LoadScenariosTest, WhatWasDueAndNeverSentIsSaid) {
  FakeDaemon daemon([&](FakeDaemon::Peer& peer) {
    answer_open(peer);
    read_turn(peer);  // which is never answered
    answer_the_rest(peer);
  });
  const std::string trace = file_with("0\n0.001\n0.002\n0.003\n3600\n");
  // Generations under way are cancelled; this daemon takes its time with that, so the connection is cut.
  asio::io_context io;
  std::unique_ptr<Scenario> scenario = make_arrivals_scenario();
  CLI::App app;
  scenario->add_flags(app);
  app.parse("--outstanding 1 --keep-sessions --trace " + trace);
  bench::Run run(io, {.socket_path = daemon.path(), .duration = milliseconds(30)});
  asio::co_spawn(
      io, [&] { return scenario->execute(run); }, asio::detached);
  while (!run.stopping()) {
    io.run_one();
  }
  asio::co_spawn(
      io, [&] { return run.clean_up(); }, asio::detached);
  io.run();
  json::object report;
  scenario->add_to_report(run, report);
  EXPECT_EQ(report.at("arrivals").at("sent"), 1);
  EXPECT_EQ(report.at("arrivals").at("not_sent"), 3);
  EXPECT_GE(report.at("arrivals").at("longest_not_sent_ms").as_double(), 29);
}

TEST_F(LoadScenariosTest, ASessionThatSleepsIsWokenAndTimed) {
  FakeDaemon daemon([&](FakeDaemon::Peer& peer) {
    answer_open(peer);
    for (const char* state : {"asleep", "resting"}) {
      const json::object stat = peer.read();
      EXPECT_EQ(stat.at("op"), "stat");
      peer.write(answer(stat, {{"event", "stat"}, {"state", state}}));
      if (std::string_view(state) == "asleep") {
        const json::object wake = peer.read();
        EXPECT_EQ(wake.at("op"), "open");
        EXPECT_EQ(wake.at("session"), stat.at("session"));
        std::this_thread::sleep_for(milliseconds(5));
        peer.write(answer(wake, {{"event", "opened"}, {"existed", true}, {"position", 10}}));
      }
      peer.write(token_and_done(read_turn(peer)));
    }
    answer_the_rest(peer);
  });
  Finished finished(make_churn_scenario(), "--sessions 1 --workers 1 --mix talk=1 --actions 3",
                    {.socket_path = daemon.path()});
  const LatencyHistogram& wake = finished.run.recorder().figure(Figure::wake).histogram;
  EXPECT_EQ(wake.count(), 1);
  EXPECT_GE(wake.max(), nanoseconds(milliseconds(5)).count());
  EXPECT_EQ(finished.report.at("churn").at("woken"), 1);
  EXPECT_EQ(finished.report.at("churn").at("actions").at("open"), 1);
  EXPECT_EQ(finished.report.at("churn").at("actions").at("talk"), 2);
}

TEST_F(LoadScenariosTest, FlagsThatDoNotGoTogetherAreRefused) {
  const auto refused = [](std::unique_ptr<Scenario> scenario, const std::string& flags) {
    CLI::App app;
    scenario->add_flags(app);
    app.parse(flags);
    EXPECT_THROW(scenario->settings(), std::invalid_argument) << flags;
  };
  refused(make_arrivals_scenario(), "--outstanding 2");
  refused(make_arrivals_scenario(), "--trace /nonexistent/trace");
  refused(make_conversation_scenario(), "--template no-place");
  refused(make_conversation_scenario(), "--turns-file /nonexistent/turns");
  refused(make_churn_scenario(), "--mix dance=1");
}

}  // namespace
}  // namespace condensed::bench
