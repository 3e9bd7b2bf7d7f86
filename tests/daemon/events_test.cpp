#include "daemon/events.h"

#include <chrono>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

namespace json = boost::json;
using testing::UnorderedElementsAre;

/// The one object that the event's line holds.
json::object read(const std::string& event) {
  EXPECT_EQ(event.find('\n'), event.size() - 1) << event;
  return json::parse(event).as_object();
}

std::vector<std::string> keys(const json::object& object) {
  std::vector<std::string> out;
  for (const auto& [key, value] : object) {
    out.emplace_back(key);
  }
  return out;
}

const engine::SessionInfo kInfo{.session = {.name = "a"},
                                .existed = true,
                                .generating = true,
                                .sinks = 4,
                                .window = 8,
                                .position = 100,
                                .cached = 12,
                                .evictions = 87,
                                .waiting_tokens = 1,
                                .waiting_bytes = 2,
                                .cache_bytes = 10,
                                .cache_bytes_max = 20};

TEST(Events, OpenedAndAttachedHaveTheKeysOfTheProtocol) {
  EXPECT_THAT(keys(read(opened_event(kInfo))),
              UnorderedElementsAre("event", "session", "existed", "sinks", "window", "position", "cached",
                                   "cache_bytes", "cache_bytes_max"));
  const json::object attached = read(attached_event(kInfo));
  EXPECT_EQ(attached.at("event"), "attached");
  EXPECT_EQ(attached.at("generating"), true);
  EXPECT_EQ(attached.at("position"), 100);
}

TEST(Events, TokenCarriesLogprobsOnlyWhenAskedFor) {
  engine::GeneratedToken token{.token = 5, .position = 9, .text = "a\n\"ü"};
  EXPECT_THAT(keys(read(token_event("a", token))),
              UnorderedElementsAre("event", "session", "text", "token", "position"));
  EXPECT_EQ(read(token_event("a", token)).at("text"), "a\n\"ü");
  token.logprob = -0.5F;
  EXPECT_EQ(read(token_event("a", token)).at("top"), json::array());
  token.top.push_back({{7, -0.25F}, " x"});
  const json::object event = read(token_event("a", token));
  EXPECT_EQ(event.at("logprob"), -0.5);
  EXPECT_EQ(event.at("top"), (json::array{{{"token", 7}, {"text", " x"}, {"logprob", -0.25}}}));
}

TEST(Events, DoneCountsTokensPerSecondAfterTheFirst) {
  engine::GenerationSummary summary{.reason = engine::FinishReason::stop,
                                    .text = "rest",
                                    .stop = "END",
                                    .prompt_tokens = 3,
                                    .completion_tokens = 11,
                                    .position = 14,
                                    .time_to_first_token = std::chrono::milliseconds(500),
                                    .total = std::chrono::milliseconds(2500)};
  json::object event = read(done_event("a", summary));
  EXPECT_EQ(event.at("reason"), "stop");
  EXPECT_EQ(event.at("stop"), "END");
  EXPECT_EQ(event.at("usage"), (json::object{{"prompt_tokens", 3}, {"completion_tokens", 11}}));
  EXPECT_DOUBLE_EQ(event.at("timing").at("time_to_first_token_ms").as_double(), 500);
  EXPECT_DOUBLE_EQ(event.at("timing").at("tokens_per_s").as_double(), 5);

  summary.stop.clear();
  summary.completion_tokens = 0;
  event = read(done_event("a", summary));
  EXPECT_FALSE(event.contains("stop"));
  EXPECT_THAT(keys(event.at("timing").as_object()), UnorderedElementsAre("total_ms"));
}

TEST(Events, StatAndListHaveTheKeysOfTheProtocol) {
  EXPECT_THAT(keys(read(stat_event(kInfo, 3))),
              UnorderedElementsAre("event", "session", "user", "state", "generating", "interrupted", "sinks",
                                   "window", "position", "cached", "evictions", "waiting_tokens",
                                   "waiting_bytes", "cache_bytes", "cache_bytes_max", "idle_s", "attached"));
  EXPECT_THAT(keys(read(stat_event(engine::EngineInfo{}, {.connections = 2, .resident_bytes = 5}))),
              UnorderedElementsAre("event", "version", "model", "backend", "n_layers", "n_owners",
                                   "vocab_size", "weight_bytes", "cache_dtype", "cache_bytes_per_token",
                                   "sessions", "asleep", "resident", "max_sessions", "max_resident_sessions",
                                   "max_cache_bytes", "generating", "waiting", "cache_bytes", "steps",
                                   "step_sessions", "step_time_s", "tokens_read", "tokens_generated",
                                   "evictions", "uptime_s", "connections", "resident_bytes", "threads"));
  const json::object list = read(list_event({kInfo}, {3}));
  EXPECT_EQ(list.at("sessions").at(0).at("attached"), 3);
  EXPECT_EQ(read(list_event({}, {})).at("sessions"), json::array());
}

TEST(Events, StatTellsSettingsButNoPathsAndNoNames) {
  Settings settings;
  settings.model = "/home/someone/model";
  settings.window = 77;
  settings.prompt_tolerance = 0.5;
  const json::object stat = read(stat_event(engine::EngineInfo{}, {.threads = 3, .settings = &settings}));
  EXPECT_EQ(stat.at("threads"), 3);
  const json::object& told = stat.at("settings").as_object();
  EXPECT_EQ(told.at("window"), 77);
  EXPECT_EQ(told.at("cache"), "f16");
  EXPECT_EQ(told.at("prompt_tolerance"), 0.5);
  EXPECT_EQ(told.size(), all_settings().size() - 9);
  for (const char* key : {"model", "socket", "metrics_socket", "state_dir", "admin_group", "socket_owner",
                          "socket_group", "socket_mode", "metrics_socket_mode"}) {
    EXPECT_FALSE(told.contains(key)) << key;
  }
}

TEST(Events, ASlowTokensAccountIsInMilliseconds) {
  using std::chrono::microseconds;
  engine::GeneratedToken token{.token = 5};
  token.account = engine::StepAccount{.interval = microseconds(81500), .step = microseconds(80250)};
  token.account->use.process.page_faults_major = 3;
  token.account->use.thread.preemptions = 2;
  const json::object event = read(token_event("a", token));
  const json::object& account = event.at("account").as_object();
  EXPECT_THAT(
      keys(account),
      UnorderedElementsAre("interval_ms", "step_ms", "other_steps_ms", "between_steps_ms", "commands_ms",
                           "preparing_ms", "idle_ms", "held_ms", "queued_ms", "starting_ms", "waking_ms",
                           "input_tokens", "steps", "sessions", "decode_rows", "prompt_rows", "passes",
                           "snapshots_under_way", "snapshots_copied", "sessions_woken", "cpu_ms",
                           "page_faults_minor", "page_faults_major", "preemptions", "engine_thread"));
  EXPECT_EQ(account.at("interval_ms"), 81.5);
  EXPECT_EQ(account.at("step_ms"), 80.25);
  EXPECT_EQ(account.at("page_faults_major"), 3);
  EXPECT_THAT(keys(account.at("engine_thread").as_object()),
              UnorderedElementsAre("cpu_ms", "page_faults_minor", "page_faults_major", "preemptions"));
  EXPECT_EQ(account.at("engine_thread").at("preemptions"), 2);
}

TEST(Events, StatSaysWhoseASessionIsAndWhereItIs) {
  engine::SessionInfo info = kInfo;
  info.session.user = 1000;
  info.idle = std::chrono::milliseconds(1500);
  json::object stat = read(stat_event(info, 0));
  EXPECT_EQ(stat.at("user"), 1000);
  EXPECT_EQ(stat.at("state"), "generating");
  EXPECT_DOUBLE_EQ(stat.at("idle_s").as_double(), 1.5);
  info.generating = false;
  EXPECT_EQ(read(stat_event(info, 0)).at("state"), "resting");
  info.asleep = true;
  info.interrupted = true;
  info.saved_position = 90;
  info.snapshot_bytes = 5000;
  stat = read(stat_event(info, 0));
  EXPECT_EQ(stat.at("state"), "asleep");
  EXPECT_EQ(stat.at("interrupted"), true);
  EXPECT_EQ(stat.at("saved_position"), 90);
  EXPECT_EQ(stat.at("snapshot_bytes"), 5000);
}

TEST(Events, DoneSaysWhenItCanBeResumed) {
  engine::GenerationSummary summary{.reason = engine::FinishReason::shutdown};
  EXPECT_FALSE(read(done_event("a", summary)).contains("resumable"));
  summary.resumable = true;
  EXPECT_EQ(read(done_event("a", summary)).at("resumable"), true);
}

TEST(Events, WhatKeepsAndMovesSessions) {
  EXPECT_EQ(read(saved_event({.session = {.name = "a"}, .position = 7, .bytes = 99})),
            (json::object{{"event", "saved"}, {"session", "a"}, {"position", 7}, {"bytes", 99}}));
  EXPECT_THAT(keys(read(added_event("forked", kInfo))),
              UnorderedElementsAre("event", "session", "sinks", "window", "position", "cached", "cache_bytes",
                                   "cache_bytes_max"));
  EXPECT_EQ(read(added_event("imported", kInfo)).at("event"), "imported");
  EXPECT_EQ(read(renamed_event(kInfo, "old")),
            (json::object{{"event", "renamed"}, {"session", "a"}, {"from", "old"}, {"position", 100}}));
  const std::vector<std::byte> part{std::byte{0xFF}, std::byte{0}};
  EXPECT_EQ(read(chunk_event("a", part)),
            (json::object{{"event", "chunk"}, {"session", "a"}, {"data", "/wA="}}));
  EXPECT_EQ(read(exported_event({.session = {.name = "a"}, .position = 7, .file = part})),
            (json::object{{"event", "exported"}, {"session", "a"}, {"position", 7}, {"bytes", 2}}));
  EXPECT_EQ(read(importing_event(12)), (json::object{{"event", "importing"}, {"bytes", 12}}));
}

TEST(Events, AnIdComesBackAsItWas) {
  EXPECT_EQ(with_id(pong_event(), ""), pong_event());
  EXPECT_EQ(read(with_id(pong_event(), "7")), (json::object{{"id", 7}, {"event", "pong"}}));
  EXPECT_EQ(read(with_id(pong_event(), R"("a\"b")")).at("id"), "a\"b");
}

TEST(Events, SmallOnes) {
  EXPECT_EQ(read(metrics_event("# HELP a b\na{c=\"d\"} 1\n")),
            (json::object{{"event", "metrics"}, {"text", "# HELP a b\na{c=\"d\"} 1\n"}}));
  EXPECT_EQ(read(position_event("closed", kInfo)),
            (json::object{{"event", "closed"}, {"session", "a"}, {"position", 100}}));
  EXPECT_EQ(read(lagged_event("a", 4)), (json::object{{"event", "lagged"}, {"session", "a"}, {"missed", 4}}));
  EXPECT_EQ(read(bye_event()), (json::object{{"event", "bye"}, {"reason", "shutdown"}}));
  EXPECT_EQ(read(error_event("c", "m")), (json::object{{"event", "error"}, {"code", "c"}, {"message", "m"}}));
  EXPECT_EQ(read(error_event("c", "m", {.session = "a", .limit = "max_line_bytes", .retry_after_ms = 7})),
            (json::object{{"event", "error"},
                          {"code", "c"},
                          {"message", "m"},
                          {"session", "a"},
                          {"limit", "max_line_bytes"},
                          {"retry_after_ms", 7}}));
}

}  // namespace
}  // namespace condensed::daemon
