#include "daemon/metrics.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

using namespace std::chrono_literals;
using engine::FinishReason;
using testing::ContainerEq;
using testing::HasSubstr;

using Series = std::map<std::string, double>;

Series series_of(const std::string& text) {
  Series out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('#')) {
      const std::size_t space = line.rfind(' ');
      out[line.substr(0, space)] = std::stod(line.substr(space + 1));
    }
  }
  return out;
}

class MetricsTest : public testing::Test {
 protected:
  Series read() { return series_of(metrics_.text(info_, 0)); }

  /// What has changed since the test began; what concerns the process does so by itself.
  Series changes() {
    Series out;
    for (const auto& [name, value] : read()) {
      if (!name.starts_with("process_") && value != before_[name] &&
          name.find("_bucket") == std::string::npos) {
        out[name] = value - before_[name];
      }
    }
    return out;
  }

  engine::EngineInfo info_ = [] {
    engine::EngineInfo info;
    info.backend = "avx2";
    return info;
  }();
  Metrics metrics_{"m", "avx2"};
  Series before_ = read();
};

TEST_F(MetricsTest, EverySeriesExistsFromTheStart) {
  const Series start = read();
  metrics_.on_step({.sessions = 1, .decode_rows = 1, .passes = 1});
  metrics_.on_error("bad_json");
  metrics_.on_generation_end({.reason = FinishReason::closed, .completion_tokens = 3, .total = 1s});
  for (const auto& [name, value] : read()) {
    EXPECT_TRUE(start.contains(name)) << name;
  }
  EXPECT_EQ(
      start.at("condensed_build_info{backend=\"avx2\",model_name=\"m\",version=\"" CONDENSED_VERSION "\"}"),
      1);
  EXPECT_EQ(start.at("vllm:time_to_first_token_seconds_count{model_name=\"m\"}"), 0);
}

TEST_F(MetricsTest, TheBackendIsWhereTheModelIsNow) {
  info_.backend = "cuda";
  const Series after = read();
  EXPECT_EQ(
      after.at("condensed_build_info{backend=\"cuda\",model_name=\"m\",version=\"" CONDENSED_VERSION "\"}"),
      1);
  EXPECT_FALSE(after.contains(
      "condensed_build_info{backend=\"avx2\",model_name=\"m\",version=\"" CONDENSED_VERSION "\"}"));
}

TEST_F(MetricsTest, AStep) {
  metrics_.on_step(
      {.sessions = 3, .decode_rows = 2, .prompt_rows = 30, .passes = 4, .evictions = 5, .duration = 250ms});
  EXPECT_THAT(changes(), ContainerEq(Series{{"vllm:prompt_tokens_total{model_name=\"m\"}", 30},
                                            {"vllm:generation_tokens_total{model_name=\"m\"}", 2},
                                            {"vllm:iteration_tokens_total_count{model_name=\"m\"}", 1},
                                            {"vllm:iteration_tokens_total_sum{model_name=\"m\"}", 32},
                                            {"condensed_evictions_total", 5},
                                            {"condensed_step_seconds_count", 1},
                                            {"condensed_step_seconds_sum", 0.25},
                                            {"condensed_batch_sessions_count", 1},
                                            {"condensed_batch_sessions_sum", 3},
                                            {"condensed_prefill_passes_count", 1},
                                            {"condensed_prefill_passes_sum", 4}}));
  metrics_.on_step({.sessions = 1, .decode_rows = 1, .passes = 1});
  EXPECT_EQ(changes()["condensed_prefill_passes_count"], 1);  // nothing was read
}

TEST_F(MetricsTest, Tokens) {
  metrics_.on_first_token(40ms);
  metrics_.on_later_token(2ms);
  EXPECT_THAT(changes(),
              ContainerEq(Series{{"vllm:time_to_first_token_seconds_count{model_name=\"m\"}", 1},
                                 {"vllm:time_to_first_token_seconds_sum{model_name=\"m\"}", 0.04},
                                 {"vllm:inter_token_latency_seconds_count{model_name=\"m\"}", 1},
                                 {"vllm:inter_token_latency_seconds_sum{model_name=\"m\"}", 0.002},
                                 {"vllm:time_per_output_token_seconds_count{model_name=\"m\"}", 1},
                                 {"vllm:time_per_output_token_seconds_sum{model_name=\"m\"}", 0.002}}));
  Series after = read();
  EXPECT_EQ(after.at("vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.02\"}"), 0);
  EXPECT_EQ(after.at("vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.04\"}"),
            1);  // le: and equal
  EXPECT_EQ(after.at("vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"+Inf\"}"), 1);
}

TEST_F(MetricsTest, AGenerationsEnd) {
  metrics_.on_generation_end({.reason = FinishReason::eos,
                              .prompt_tokens = 7,
                              .completion_tokens = 5,
                              .time_to_first_token = 1s,
                              .total = 3s});
  EXPECT_THAT(changes(),
              ContainerEq(Series{{"vllm:request_success_total{finished_reason=\"stop\",model_name=\"m\"}", 1},
                                 {"condensed_generations_total{reason=\"eos\"}", 1},
                                 {"vllm:e2e_request_latency_seconds_count{model_name=\"m\"}", 1},
                                 {"vllm:e2e_request_latency_seconds_sum{model_name=\"m\"}", 3},
                                 {"vllm:request_prompt_tokens_count{model_name=\"m\"}", 1},
                                 {"vllm:request_prompt_tokens_sum{model_name=\"m\"}", 7},
                                 {"vllm:request_generation_tokens_count{model_name=\"m\"}", 1},
                                 {"vllm:request_generation_tokens_sum{model_name=\"m\"}", 5},
                                 {"vllm:request_time_per_output_token_seconds_count{model_name=\"m\"}", 1},
                                 {"vllm:request_time_per_output_token_seconds_sum{model_name=\"m\"}", 0.5}}));
  metrics_.on_generation_end({.reason = FinishReason::cancelled, .completion_tokens = 1});
  metrics_.on_generation_end({.reason = FinishReason::length});
  Series now = changes();
  EXPECT_EQ(now["vllm:request_success_total{finished_reason=\"abort\",model_name=\"m\"}"], 1);
  EXPECT_EQ(now["vllm:request_success_total{finished_reason=\"length\",model_name=\"m\"}"], 1);
  EXPECT_EQ(now["vllm:request_time_per_output_token_seconds_count{model_name=\"m\"}"],
            1);  // none has two tokens
}

TEST_F(MetricsTest, SnapshotsAndSleep) {
  metrics_.on_snapshot_written(4096, 100ms);
  metrics_.on_snapshot_failed();
  metrics_.on_session_hibernated();
  metrics_.on_session_woken(20ms);
  EXPECT_THAT(changes(), ContainerEq(Series{{"condensed_snapshot_written_bytes_total", 4096},
                                            {"condensed_snapshot_write_seconds_count", 1},
                                            {"condensed_snapshot_write_seconds_sum", 0.1},
                                            {"condensed_snapshot_failures_total", 1},
                                            {"condensed_hibernations_total", 1},
                                            {"condensed_wake_seconds_count", 1},
                                            {"condensed_wake_seconds_sum", 0.02}}));
}

TEST_F(MetricsTest, InputConnectionsAndErrors) {
  metrics_.on_append_read(12);
  metrics_.on_connection();
  metrics_.on_error("bad_json");
  metrics_.on_error("bad_json");
  EXPECT_THAT(changes(), ContainerEq(Series{{"condensed_append_tokens_count", 1},
                                            {"condensed_append_tokens_sum", 12},
                                            {"condensed_connections_total", 1},
                                            {"condensed_errors_total{code=\"bad_json\"}", 2}}));
}

TEST_F(MetricsTest, WhatTheEngineKnows) {
  info_.sessions = 10;
  info_.asleep = 4;
  info_.generating = 1;
  info_.waiting = 2;
  info_.max_sessions = 64;
  info_.cache_bytes = 300;
  info_.max_cache_bytes = 1200;
  info_.weight_bytes = 5000;
  Series now = series_of(metrics_.text(info_, 3));
  EXPECT_EQ(now["condensed_sessions{state=\"asleep\"}"], 4);
  EXPECT_EQ(now["condensed_sessions{state=\"generating\"}"], 1);
  EXPECT_EQ(now["condensed_sessions{state=\"resident\"}"], 5);
  EXPECT_EQ(now["condensed_sessions_max"], 64);
  EXPECT_EQ(now["vllm:num_requests_running{model_name=\"m\"}"], 1);
  EXPECT_EQ(now["vllm:num_requests_waiting{model_name=\"m\"}"], 2);
  EXPECT_EQ(now["vllm:kv_cache_usage_perc{model_name=\"m\"}"], 0.25);
  EXPECT_EQ(now["vllm:gpu_cache_usage_perc{model_name=\"m\"}"], 0.25);
  EXPECT_EQ(now["condensed_cache_bytes"], 300);
  EXPECT_EQ(now["condensed_weight_bytes"], 5000);
  EXPECT_EQ(now["condensed_connections"], 3);
}

TEST_F(MetricsTest, TheProcess) {
  const Series now = read();
  EXPECT_GT(now.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(now.at("process_virtual_memory_bytes"), now.at("process_resident_memory_bytes"));
  EXPECT_GT(now.at("process_start_time_seconds"), 1.6e9);
  EXPECT_GE(now.at("process_cpu_seconds_total"), 0);
  const std::ifstream one_more("/dev/null");
  EXPECT_EQ(read().at("process_open_fds"), now.at("process_open_fds") + 1);
  EXPECT_GE(now.at("process_max_fds"), now.at("process_open_fds"));
}

TEST(Metrics, NamesAreEscaped) {
  Metrics metrics("a\"b\\c\nd", "avx2");
  EXPECT_THAT(metrics.text({}, 0), HasSubstr(R"(vllm:num_requests_running{model_name="a\"b\\c\nd"} 0)"));
}

std::string text_of(const char* page) {
  std::ifstream file(std::filesystem::path(CONDENSED_TESTS_DIR).parent_path() / page);
  std::ostringstream out;
  out << file.rdbuf();
  EXPECT_TRUE(file) << page;
  return out.str();
}

/// The first groups of every match, joined.
std::set<std::string> matches(const std::string& text, const std::string& pattern) {
  std::set<std::string> out;
  const std::regex regex(pattern);
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match) {
    std::string joined = (*match)[1];
    for (std::size_t group = 2; group < match->size(); ++group) {
      joined += " " + (*match)[group].str();
    }
    out.insert(joined);
  }
  return out;
}

TEST(Metrics, TheManualListsEveryMetricWithItsType) {
  Metrics metrics("m", "avx2");
  const std::set<std::string> exposed = matches(metrics.text({}, 0), "# TYPE (\\S+) (\\w+)");
  const std::set<std::string> listed =
      matches(text_of("docs/metrics.md"), "\\| `([a-z0-9_:]+)` \\| (\\w+) \\|");
  EXPECT_THAT(listed, ContainerEq(exposed));
  EXPECT_GT(listed.size(), 30U);
}

TEST(Metrics, EveryErrorOfTheProtocolHasASeries) {
  Metrics metrics("m", "avx2");
  std::string manual = text_of("docs/protocol.md");
  manual.erase(0, manual.find("\n| code | when |"));
  const std::set<std::string> listed = matches(manual.substr(0, manual.find("\n\n")), "\n\\| `(\\w+)` \\|");
  const std::set<std::string> exposed =
      matches(metrics.text({}, 0), "condensed_errors_total\\{code=\"(\\w+)\"");
  EXPECT_THAT(listed, testing::IsSubsetOf(exposed));
  EXPECT_GT(listed.size(), 10U);
}

}  // namespace
}  // namespace condensed::daemon
