#include "clients/bench/run_page.h"

#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clients/bench/lookup.h"
#include "report/html_page.h"
#include "tests/clients/sample_report.h"

namespace condensed::bench {
namespace {

namespace json = boost::json;

json::object chart(const json::object& page, const std::string& id) {
  for (const json::value& section : array_at(page, "sections")) {
    const json::object& found = object_at(section.as_object(), "chart");
    if (!found.empty() && found.at("id") == id.c_str()) {
      return found;
    }
  }
  throw std::runtime_error("no chart " + id);
}

json::object table(const json::object& page, const std::string& heading) {
  for (const json::value& section : array_at(page, "sections")) {
    if (const json::value* const found = section.as_object().if_contains("heading");
        found != nullptr && *found == heading.c_str()) {
      return section.at("table").as_object();
    }
  }
  throw std::runtime_error("no section " + heading);
}

/// Points of a chart's series, by their numbers and not by how they are kept.
std::string points(const json::object& chart, std::size_t series) {
  std::string out;
  for (const json::value& point : chart.at("series").at(series).at("points").as_array()) {
    for (const json::value& number : point.as_array()) {
      out += (number.is_null() ? "gap" : testing::PrintToString(number.to_number<double>())) + " ";
    }
    out += "| ";
  }
  return out;
}

class RunPage : public testing::Test {
 protected:
  json::object page_ = run_page(sample_report(10));
};

TEST_F(RunPage, CanBeDrawn) {
  EXPECT_NO_THROW(report::html_page(page_));
}

TEST_F(RunPage, DrawsLatencyByPositionWithGapsWhereNothingWasMeasured) {
  const json::object drawn = chart(page_, "itl_by_position");
  EXPECT_EQ(points(drawn, 0), "128 8 | 256 gap | 640 8.5 | ");
  EXPECT_EQ(points(drawn, 1), "128 19 | 256 gap | 640 20 | ");
  EXPECT_EQ(points(drawn, 2), "128 21 | 256 gap | 640 80.25 | ");
  EXPECT_EQ(drawn.at("marks"), json::parse(R"([{"x": 256.0, "label": "window full"}])"));
}

TEST_F(RunPage, DrawsPercentilesUpToBeforeTheLast) {
  EXPECT_EQ(points(chart(page_, "itl_percentiles"), 0), "0 1 | 0.5 9 | 0.99 20 | ");
  EXPECT_THROW(chart(page_, "request_percentiles"), std::runtime_error);  // of one request
}

TEST_F(RunPage, DrawsWhatWasCountedInEachPartInItsMiddle) {
  EXPECT_EQ(points(chart(page_, "throughput_over_time"), 0),
            "3 " + testing::PrintToString(700 / 6.0) + " | 8 75 | 11 100 | ");
  EXPECT_EQ(points(chart(page_, "itl_over_time"), 1), "3 19 | 8 gap | 11 20 | ");
}

TEST_F(RunPage, DrawsSamplesWhereTheyWereTaken) {
  EXPECT_EQ(points(chart(page_, "memory_over_time"), 0), "6 2e+07 | 12 2.01e+07 | ");
  EXPECT_EQ(points(chart(page_, "cache_over_tokens"), 0), "700 196608 | 1200 196608 | ");
  // 300 up to 6 s, 600 more in the 6 s from there.
  EXPECT_EQ(points(chart(page_, "evictions_over_time"), 0), "6 50 | 12 100 | ");
  EXPECT_THROW(chart(page_, "sessions_over_time"), std::runtime_error);  // none slept
}

TEST_F(RunPage, ListsStallsWithTheDaemonsAccount) {
  const json::object drawn = chart(page_, "stalls");
  EXPECT_EQ(points(drawn, 0), "200 21 | 700 80.25 | ");
  EXPECT_EQ(drawn.at("marks"), json::parse(R"([{"y": 20.0, "label": "threshold"}])"));
  const json::array rows = table(page_, "Stalls").at("rows").as_array();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].at(3).to_number<double>(), 80.25);  // the longest first
  EXPECT_EQ(rows[0].at(4), "step_ms 80.125, prompt_rows 32");
  EXPECT_EQ(rows[1].at(4), "none");
}

TEST_F(RunPage, LeavesOutOfAnAccountWhatTookNextToNothing) {
  json::object report = sample_report(10);
  report["stalls"].at("listed").at(1).as_object()["account"] = json::parse(
      R"({"step_ms": 79, "between_steps_ms": 0.5, "idle_ms": 0, "steps": 1, "engine_thread": {"cpu_ms": 4.5}})");
  const json::array rows = table(run_page(report), "Stalls").at("rows").as_array();
  EXPECT_EQ(rows[0].at(4), "step_ms 79, steps 1, engine_thread cpu_ms 4.5");
}

TEST_F(RunPage, DrawsHowLongRequestsTookOverTheRun) {
  EXPECT_THROW(chart(page_, "requests_over_time"), std::runtime_error);  // there was one
  json::object report = sample_report(10);
  report["segments"].as_object()["wait"] = report["segments"].at("itl");
  const json::object drawn = chart(run_page(report), "requests_over_time");
  EXPECT_EQ(drawn.at("series").at(0).at("name"), "wait");
  EXPECT_THAT(points(drawn, 0), testing::StartsWith("0.5 9 | 1.5 11 | 2.5 9 | "));
}

TEST_F(RunPage, ShowsWhatOnlyTheScenarioKnows) {
  json::object report = sample_report(10);
  report["stream"] = json::parse(R"({"offered": 3, "rates": {"sent": 2.5}})");
  EXPECT_EQ(table(run_page(report), "Scenario").at("rows"),
            json::parse(R"([["offered", 3], ["rates sent", 2.5]])"));
}

TEST_F(RunPage, PutsDaemonBesideClient) {
  const json::array rows = table(page_, "Daemon against client").at("rows").as_array();
  EXPECT_EQ(rows[0].at(0), "itl mean_ms");
  EXPECT_EQ(rows[0].at(1).to_number<double>(), 10);
  EXPECT_EQ(rows[0].at(2).to_number<double>(), 9.9);
  EXPECT_NEAR(rows[0].at(3).to_number<double>(), 0.1, 1e-12);
}

TEST_F(RunPage, ShowsSettingsOfBothSides) {
  EXPECT_EQ(table(page_, "Settings").at("rows"),
            json::parse(R"([["client window", 252], ["client sinks", 4], ["daemon version", "0.1.0"]])"));
}

TEST_F(RunPage, LeavesOutWhatIsMissing) {
  for (const char* key : {"by_position", "timeline", "percentiles", "stalls", "segments", "daemon_side",
                          "overhead", "histograms", "settings"}) {
    json::object report = sample_report(10);
    report.erase(key);
    EXPECT_NO_THROW(report::html_page(run_page(report))) << key;
  }
}

}  // namespace
}  // namespace condensed::bench
