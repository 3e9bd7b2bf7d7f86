#include "clients/condensectl/top_frame.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::ctl {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::EndsWith;
using testing::StartsWith;

json::object session(const char* name, bool generating, int position, int waiting_tokens = 0) {
  return {{"session", name},
          {"user", 30001},
          {"state", generating ? "generating" : "resting"},
          {"generating", generating},
          {"position", position},
          {"cached", 128},
          {"waiting_tokens", waiting_tokens},
          {"waiting_bytes", 0},
          {"cache_bytes", 100},
          {"attached", 1}};
}

Snapshot snapshot(double uptime_s, const char* metrics, json::array sessions) {
  return {.stat = {{"version", "1.2"}, {"model", "tiny"}, {"backend", "avx2"}, {"uptime_s", uptime_s}},
          .sessions = std::move(sessions),
          .metrics = Exposition(metrics)};
}

Snapshot before() {
  return snapshot(100,
                  "vllm:prompt_tokens_total{model_name=\"tiny\"} 1000\n"
                  "vllm:generation_tokens_total{model_name=\"tiny\"} 500\n"
                  "condensed_evictions_total 10\n"
                  "condensed_step_seconds_bucket{le=\"0.001\"} 50\n"
                  "condensed_step_seconds_bucket{le=\"+Inf\"} 50\n"
                  "condensed_step_seconds_sum 0.04\n",
                  {session("quiet", false, 40), session("slow", true, 100), session("busy", true, 100),
                   session("gone", true, 7), session("reopened", false, 90)});
}

Snapshot now() {
  return snapshot(3 * 86400 + 102,
                  "vllm:prompt_tokens_total{model_name=\"tiny\"} 1000\n"
                  "vllm:generation_tokens_total{model_name=\"tiny\"} 900\n"
                  "condensed_evictions_total 310\n"
                  "condensed_step_seconds_bucket{le=\"0.001\"} 250\n"
                  "condensed_step_seconds_bucket{le=\"+Inf\"} 250\n"
                  "condensed_step_seconds_sum 0.14\n"
                  "condensed_batch_sessions_bucket{le=\"+Inf\"} 100\n"
                  "condensed_batch_sessions_sum 250\n"
                  "vllm:iteration_tokens_total_bucket{model_name=\"tiny\",le=\"+Inf\"} 100\n"
                  "vllm:iteration_tokens_total_sum{model_name=\"tiny\"} 300\n"
                  "vllm:inter_token_latency_seconds_bucket{model_name=\"tiny\",le=\"0.002\"} 100\n"
                  "vllm:inter_token_latency_seconds_bucket{model_name=\"tiny\",le=\"2\"} 100\n"
                  "vllm:inter_token_latency_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 102\n"
                  "condensed_sessions{state=\"generating\"} 2\ncondensed_sessions{state=\"resident\"} 3\n"
                  "condensed_sessions{state=\"asleep\"} 1\ncondensed_sessions_max 64\n"
                  "vllm:num_requests_waiting{model_name=\"tiny\"} 1\ncondensed_connections 4\n"
                  "condensed_cache_bytes 1500000\ncondensed_weight_bytes 2300000\n"
                  "process_resident_memory_bytes 45000000\n",
                  {session("a-reader", false, 0, 5), session("quiet", false, 40), session("slow", true, 100),
                   session("busy", true, 500), session("reopened", false, 30)});
}

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> out;
  for (std::string line; std::getline(stream, line);) {
    out.push_back(line);
  }
  return out;
}

TEST(TopFrame, ShowsWhatHappenedBetweenTwoSnapshots) {
  Snapshot later = now();
  later.stat["uptime_s"] = 102.0;
  EXPECT_THAT(lines(top_frame(before(), later, {})),
              ElementsAre("condensed 1.2   tiny   avx2   up 00:01:42   rates over 2.0 s",
                          "sessions   2 generating, 3 resident, 1 asleep of 64   waiting 1   connections 4",
                          "tokens/s   read 0.0   generated 200.0   evicted 150.0",
                          "steps/s    100.0   each 2.5 sessions, 3.0 rows, 0.50 ms (p99 0.99 ms)",
                          "latency    first token p50 -, p99 -   between tokens p50 1.02 ms, p99 2.00 s",
                          "memory     caches 1.50 MB   weights 2.30 MB   process 45.00 MB",  //
                          "",                                                                //
                          "SESSION        STATE  POSITION  CACHED  TOKENS/S  ATTACHED",
                          "busy      generating       500     128     200.0         1",
                          "reopened     resting        30     128      15.0         1",
                          "a-reader     reading         0     128       0.0         1",
                          "slow      generating       100     128       0.0         1",
                          "quiet        resting        40     128       0.0         1"));
}

TEST(TopFrame, WhatSleepsComesLast) {
  Snapshot later = now();
  json::object sleeper = session("a-sleeper", false, 40);
  sleeper["state"] = "asleep";
  later.sessions.push_back(sleeper);
  Snapshot earlier = before();
  earlier.sessions.push_back(sleeper);
  EXPECT_EQ(lines(top_frame(earlier, later, {})).back(),
            "a-sleeper      asleep        40     128       0.0         1");
}

TEST(TopFrame, SessionsOfSeveralUsersAreToldApart) {
  Snapshot earlier = snapshot(100, "", {session("a", true, 100)});
  Snapshot later = snapshot(102, "", {session("a", true, 110), session("a", true, 40)});
  later.sessions[1].as_object()["user"] = 30002;
  earlier.sessions.push_back(later.sessions[1]);
  const std::vector<std::string> shown = lines(top_frame(earlier, later, {}));
  EXPECT_THAT(std::vector(shown.end() - 3, shown.end()),
              ElementsAre("SESSION   USER       STATE  POSITION  CACHED  TOKENS/S  ATTACHED",
                          "a        30001  generating       110     128       5.0         1",
                          "a        30002  generating        40     128       0.0         1"));
}

TEST(TopFrame, WithoutAnEarlierSnapshotItIsSinceTheStart) {
  Snapshot later = now();
  later.stat["uptime_s"] = 100.0;
  const std::vector<std::string> shown = lines(top_frame({}, later, {}));
  EXPECT_THAT(shown[0], EndsWith("rates over 100.0 s"));
  EXPECT_EQ(shown[2], "tokens/s   read 10.0   generated 9.0   evicted 3.1");
}

TEST(TopFrame, ShowsDays) {
  EXPECT_THAT(lines(top_frame({}, now(), {}))[0], testing::HasSubstr("up 3 d 00:01:42 "));
}

TEST(TopFrame, FitsTheTerminal) {
  const std::vector<std::string> full = lines(top_frame(before(), now(), {}));
  for (std::size_t rows = 1; rows < 20; ++rows) {
    const std::vector<std::string> shown = lines(top_frame(before(), now(), {.rows = rows, .columns = 30}));
    EXPECT_EQ(shown.size(), std::min(rows, full.size()));
    for (const std::string& line : shown) {
      EXPECT_LE(line.size(), 30U);
    }
  }
  const std::vector<std::string> tight = lines(top_frame(before(), now(), {.rows = 11, .columns = 80}));
  EXPECT_THAT(tight[8], StartsWith("busy"));
  EXPECT_THAT(tight[9], StartsWith("reopened"));
  EXPECT_EQ(tight[10], "... and 3 more");
}

TEST(TopFrame, LetsNothingThroughThatSteersATerminal) {
  Snapshot later = now();
  later.stat["model"] = "bad\x1b[2J\x7f \xC3\xA9";
  const std::string shown = lines(top_frame({}, later, {}))[0];
  EXPECT_THAT(shown, testing::HasSubstr("bad?[2J? \xC3\xA9"));
  EXPECT_EQ(lines(top_frame({}, later, {.columns = 27}))[0], "condensed 1.2   bad?[2J? \xC3\xA9 ");
}

TEST(TopFrame, BearsADaemonWithoutSessionsOrMetrics) {
  EXPECT_THAT(lines(top_frame({}, {}, {})).back(), StartsWith("SESSION"));
}

}  // namespace
}  // namespace condensed::ctl
