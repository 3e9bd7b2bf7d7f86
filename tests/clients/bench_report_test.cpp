#include <string>

#include <gtest/gtest.h>

#include "clients/bench/histogram_encoding.h"
#include "clients/bench/report.h"

namespace condensed::bench {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr Clock::time_point kBegin{1000s};
constexpr int kTokens = 1000;

/// A generation of 1,000 tokens, one every 10 ms, the 500th 90 ms late.
Recorder recorded() {
  Recorder recorder(Slo("ttft=100ms,itl=20ms"), 50ms);
  recorder.begin(kBegin);
  GenerationTimer timer(recorder, "s", kBegin);
  auto now = kBegin;
  for (int i = 0; i < kTokens; ++i) {
    now += i == 500 ? 100ms : 10ms;
    timer.token(2000 + i, now, nullptr);
  }
  timer.done(now, true);
  recorder.record_sample({.resident_bytes = 5000, .evictions = 700, .steps = 450, .rows = 900}, kBegin + 5s);
  recorder.end(now);
  return recorder;
}

std::string metrics(int itl_count, double itl_sum, int steps, double steps_sum) {
  const auto histogram = [](const std::string& name, int count, double sum) {
    const std::string n = std::to_string(count);
    return name + "_bucket{le=\"0.02\"} " + n + "\n" + name + "_bucket{le=\"+Inf\"} " + n + "\n" + name +
           "_sum " + std::to_string(sum) + "\n" + name + "_count " + n + "\n";
  };
  return histogram("vllm:inter_token_latency_seconds", itl_count, itl_sum) +
         histogram("condensed_step_seconds", steps, steps_sum) + "condensed_evictions_total " +
         std::to_string(steps) + "\n";
}

RunFacts facts() {
  RunFacts facts{.scenario = "stream", .seed = 5, .started_at = std::chrono::system_clock::time_point(0s)};
  facts.ended = "finished";
  facts.first_sample = DaemonSample{.evictions = 200, .steps = 50, .rows = 100};
  facts.before = ctl::Exposition(metrics(10, 0.1, 100, 1));
  facts.after = ctl::Exposition(metrics(1009, 10.19, 1100, 11));
  facts.work = {.events = 1001, .busy = 2ms};
  facts.cpu = 5ms;
  return facts;
}

double number(const json::object& report, std::string_view key) {
  return report.at(key).to_number<double>();
}

TEST(BenchReport, FiguresAreThoseOfTheRun) {
  const json::object report = report_json(facts(), recorded());
  EXPECT_EQ(report.at("schema"), "condensed-bench/1");
  EXPECT_EQ(report.at("started_at"), "1970-01-01T00:00:00Z");
  EXPECT_EQ(report.at("completed"), 1);
  EXPECT_EQ(report.at("total_output_tokens"), kTokens);
  EXPECT_NEAR(number(report, "duration"), 10.09, 1e-9);
  EXPECT_NEAR(number(report, "output_throughput"), kTokens / 10.09, 1e-6);
  EXPECT_NEAR(number(report, "mean_ttft_ms"), 10, 0.01);
  EXPECT_NEAR(number(report, "median_itl_ms"), 10, 0.01);
  EXPECT_NEAR(number(report, "p99_itl_ms"), 10, 0.01);
  EXPECT_NEAR(number(report, "p99.9_itl_ms"), 100, 0.1);  // one of 999 is more than a thousandth
  EXPECT_NEAR(number(report, "max_itl_ms"), 100, 0.1);
  EXPECT_NEAR(number(report, "mean_itl_ms"), (998 * 10 + 100) / 999.0, 0.01);
  EXPECT_NEAR(number(report, "mean_e2el_ms"), 10090, 10);
  EXPECT_EQ(number(report, "request_goodput"), 0);
  EXPECT_NEAR(number(report, "good_token_share"), 0.999, 1e-9);
  EXPECT_FALSE(report.contains("mean_wake_ms"));
}

TEST(BenchReport, PartsSumToTheWhole) {
  const json::object report = report_json(facts(), recorded());
  const json::object& histogram = report.at("histograms").at("itl").as_object();
  EXPECT_EQ(histogram.at("count"), kTokens - 1);
  EXPECT_EQ(decoded(std::string_view(histogram.at("encoded").as_string())).count(), kTokens - 1);
  EXPECT_FALSE(report.at("histograms").as_object().contains("wake"));
  const auto sum = [](const json::value& rows, const char* key) {
    std::int64_t total = 0;
    for (const json::value& row : rows.as_array()) total += row.at(key).as_int64();
    return total;
  };
  EXPECT_EQ(sum(report.at("by_position"), "count"), kTokens - 1);
  EXPECT_EQ(sum(report.at("segments").at("itl"), "count"), kTokens - 1);
  EXPECT_EQ(sum(report.at("timeline"), "output_tokens"), kTokens);
  const json::array& bins = report.at("by_position").as_array();
  EXPECT_EQ(bins.front().at("from"), 2000);
  EXPECT_LE(bins.size(), 64U);
  const json::array& segments = report.at("segments").at("itl").as_array();
  EXPECT_EQ(segments.front().at("from_s").as_double(), 0);
  EXPECT_NEAR(segments.back().at("to_s").as_double(), 10.09, 1e-9);
  EXPECT_EQ(report.at("percentiles").at("itl").as_array().back().as_array()[0], 1.0);
}

TEST(BenchReport, SecondsInWhichNothingCameAreInTheTimeline) {
  const Clock::time_point begin{};
  Recorder recorder({}, 20ms);
  recorder.begin(begin);
  for (const auto at : {500ms, 4500ms}) {
    recorder.record_token("a", 7, begin, begin + at - 1ms, begin + at, nullptr);
  }
  recorder.end(begin + 6s);
  const json::array timeline = report_json(facts(), recorder).at("timeline").as_array();
  ASSERT_EQ(timeline.size(), 6U);
  for (std::size_t i = 0; i < timeline.size(); ++i) {
    EXPECT_EQ(timeline[i].at("t_s").as_double(), static_cast<double>(i));
    EXPECT_EQ(timeline[i].at("length_s").as_double(), 1);
    EXPECT_EQ(timeline[i].at("output_tokens").as_int64(), i == 0 || i == 4 ? 1 : 0);
  }
}

TEST(BenchReport, StallsAreFoundAtTheirPosition) {
  const json::object report = report_json(facts(), recorded());
  const json::object& stalls = report.at("stalls").as_object();
  ASSERT_EQ(stalls.at("count"), 1);
  const json::object& stall = stalls.at("listed").as_array()[0].as_object();
  EXPECT_EQ(stall.at("position"), 2500);
  EXPECT_NEAR(number(stall, "itl_ms"), 100, 1e-9);
  EXPECT_NEAR(number(stall, "t_s"), 5.1, 1e-9);
  EXPECT_TRUE(stall.at("account").is_null());
}

TEST(BenchReport, TheDaemonsSideIsTheDifferenceOfItsFigures) {
  const json::object report = report_json(facts(), recorded());
  const json::object& daemon = report.at("daemon_side").as_object();
  EXPECT_EQ(daemon.at("itl").at("count"), 999);
  EXPECT_NEAR(daemon.at("itl").at("mean_ms").as_double(), 10.09 / 999 * 1000, 1e-6);
  EXPECT_EQ(daemon.at("steps"), 1000);
  EXPECT_EQ(daemon.at("evictions"), 1000);
  const json::object& slice = report.at("timeline").as_array()[5].as_object();
  EXPECT_EQ(slice.at("evictions"), 500);
  EXPECT_NEAR(slice.at("mean_batch").as_double(), 2, 1e-9);
  EXPECT_EQ(slice.at("resident_bytes"), 5000);
  const json::object& overhead = report.at("overhead").as_object();
  EXPECT_NEAR(number(overhead, "ns_per_token"), 2000, 1e-9);
  EXPECT_NEAR(number(overhead, "share_of_step"), 0.002 / 10, 1e-9);
  EXPECT_NEAR(number(overhead, "cpu_ns_per_token"), 5000, 1e-9);
}

TEST(BenchReport, ADaemonThatIsGoneHasNoSide) {
  RunFacts lost = facts();
  lost.after.reset();
  const json::object report = report_json(lost, recorded());
  EXPECT_FALSE(report.contains("daemon_side"));
  EXPECT_EQ(report_table(report).find("daemon:"), std::string::npos);
}

TEST(BenchReport, TheTableAndTheCsvHaveTheSameFigures) {
  const json::object report = report_json(facts(), recorded());
  const std::string table = report_table(report);
  EXPECT_NE(table.find("itl     999   10.1  2.845   10.0   10.0   10.0  100.0   100.0  100.0\n"), table.npos)
      << table;
  EXPECT_NE(table.find("stalls above 50.0 ms: 1\n"), table.npos) << table;
  const std::string csv = report_csv(report);
  EXPECT_NE(csv.find("\nsummary,,total_output_tokens,1000\n"), csv.npos);
  EXPECT_NE(csv.find("\nby_position,0,from,2000\n"), csv.npos);
  EXPECT_NE(csv.find("\nstalls,0,position,2500\n"), csv.npos);
}

}  // namespace
}  // namespace condensed::bench
