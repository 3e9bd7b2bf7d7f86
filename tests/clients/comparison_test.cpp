#include "clients/bench/comparison.h"

#include <cmath>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clients/bench/lookup.h"
#include "report/html_page.h"
#include "tests/clients/sample_report.h"
#include "tests/engine/scratch_folder.h"

namespace condensed::bench {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

/// The quantity of a comparison.
json::object quantity(const json::object& comparison, const std::string& name) {
  for (const json::value& each : array_at(comparison, "quantities")) {
    if (each.at("name") == name.c_str()) {
      return each.as_object();
    }
  }
  throw std::runtime_error("no quantity " + name);
}

std::vector<NamedReport> runs(double first_ms, double second_ms, int second_window = 252) {
  return {{"before", sample_report(first_ms)}, {"after", sample_report(second_ms, second_window)}};
}

TEST(Comparison, GivesEachRunItsInterval) {
  const json::object itl = quantity(compared(runs(10, 10)), "itl mean_ms");
  const json::object& run = itl.at("runs").at(0).as_object();
  EXPECT_DOUBLE_EQ(run.at("value").to_number<double>(), 10);
  EXPECT_DOUBLE_EQ(run.at("parts_mean").to_number<double>(), 10);
  EXPECT_EQ(run.at("parts"), 12);
  // Twelve deviations of 1: the standard error is 1/sqrt(11); t for 11 degrees of freedom is 2.200985.
  EXPECT_NEAR(run.at("half_width").to_number<double>(), 2.200985 / std::sqrt(11), 1e-5);
}

TEST(Comparison, SaysWhatChangedByMoreThanNoise) {
  const json::object comparison = compared(runs(10, 13));
  const json::object change = quantity(comparison, "itl mean_ms").at("changes").at(0).as_object();
  EXPECT_EQ(change.at("verdict"), "worse");
  EXPECT_NEAR(change.at("difference").to_number<double>(), 3, 1e-12);
  EXPECT_NEAR(change.at("percent").to_number<double>(), 30, 1e-9);
  EXPECT_THAT(comparison_table(comparison), HasSubstr("after: itl mean_ms +30.00%, worse"));
  const json::object better = compared(runs(13, 10));
  EXPECT_EQ(quantity(better, "itl mean_ms").at("changes").at(0).at("verdict"), "better");
}

TEST(Comparison, NoiseIsNoChange) {
  const json::object comparison = compared(runs(10, 10.5));
  const json::object change = quantity(comparison, "itl mean_ms").at("changes").at(0).as_object();
  EXPECT_EQ(change.at("verdict"), "noise");
  EXPECT_GT(change.at("half_width").to_number<double>(), 0.5);
  EXPECT_THAT(comparison_table(comparison), HasSubstr("nothing changed by more than noise"));
}

TEST(Comparison, ManyLooksNeedWiderIntervals) {
  // Three quantities have intervals here: 5% are shared among them.
  const json::object comparison = compared(runs(10, 11));
  EXPECT_NEAR(comparison.at("confidence_of_each_change").to_number<double>(), 1 - 0.05 / 3, 1e-12);
  // Two standard errors of 1/sqrt(11) and 1.1/sqrt(11), about 22 degrees of freedom: t is 2.5827 at 98.33%,
  // and 2.0739 at 95%.
  const double half_width =
      quantity(comparison, "itl mean_ms").at("changes").at(0).at("half_width").to_number<double>();
  const double standard_error = std::sqrt((1 + 1.21) / 11);
  EXPECT_GT(half_width, 2.4 * standard_error);
  EXPECT_LT(half_width, 2.7 * standard_error);
}

TEST(Comparison, SingleEventsHaveNoInterval) {
  const json::object comparison = compared(runs(10, 20));
  EXPECT_TRUE(quantity(comparison, "itl max_ms").at("changes").at(0).is_null());
  EXPECT_TRUE(quantity(comparison, "ttft mean_ms").at("changes").at(0).is_null());
  EXPECT_THAT(comparison_table(comparison), Not(HasSubstr("itl max_ms +")));
}

TEST(Comparison, PercentilesOfTooFewAreLeftOut) {
  EXPECT_THROW(quantity(compared(runs(10, 10)), "itl p99.99_ms"), std::runtime_error);  // of 1,199
  EXPECT_NO_THROW(quantity(compared(runs(10, 10)), "itl p99.9_ms"));
  EXPECT_THROW(quantity(compared(runs(10, 10)), "ttft p50_ms"), std::runtime_error);
}

TEST(Comparison, ListsWhatWasSetDifferently) {
  const json::object same = compared(runs(10, 10));
  EXPECT_TRUE(same.at("differing_settings").as_array().empty());
  EXPECT_THAT(comparison_table(same), HasSubstr("nothing was set differently"));
  const json::object other = compared(runs(10, 10, 60));
  EXPECT_EQ(other.at("differing_settings"),
            json::parse(R"([{"setting": "client window", "values": [252, 60]}])"));
}

TEST(Comparison, ComparesEachRunWithTheFirst) {
  std::vector<NamedReport> three = runs(10, 10);
  three.push_back({"third", sample_report(20)});
  const json::object comparison = compared(three);
  const json::array changes = quantity(comparison, "itl mean_ms").at("changes").as_array();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].at("verdict"), "noise");
  EXPECT_EQ(changes[1].at("verdict"), "worse");
}

TEST(Comparison, ARunThatLacksWhatAnotherHasIsNotCompared) {
  std::vector<NamedReport> two = runs(10, 10);
  two[1].report["histograms"].as_object().erase("itl");
  two[1].report["segments"].as_object().erase("itl");
  const json::object itl = quantity(compared(two), "itl mean_ms");
  EXPECT_TRUE(itl.at("runs").at(1).at("value").is_null());
  EXPECT_TRUE(itl.at("changes").at(0).is_null());
}

TEST(Comparison, MakesAPage) {
  const std::vector<NamedReport> two = runs(10, 13);
  const json::object page = comparison_page(compared(two), two);
  EXPECT_NO_THROW(report::html_page(page));
  EXPECT_EQ(page.at("sections").at(0).at("text"),
            "after: itl mean_ms +30.00%, worse\n\nafter: itl p50_ms +30.00%, worse\n\nafter: itl p99_ms "
            "+30.00%, worse");
}

class ResultsFile : public testing::Test {
 protected:
  std::string written(const std::string& text) {
    std::string path = folder_.path() / ("results-" + std::to_string(++files_) + ".json");
    std::ofstream(path) << text;
    return path;
  }

  static std::string refusal(const std::string& path) {
    try {
      read_report(path);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "none";
  }

 private:
  engine::ScratchFolder folder_;  // of this test's own: others run at the same time
  int files_ = 0;
};

TEST_F(ResultsFile, ReadsWhatBenchWrites) {
  const json::object report = sample_report(10);
  EXPECT_EQ(read_report(written(json::serialize(report))), report);
}

TEST_F(ResultsFile, RefusesWhatIsNoReport) {
  EXPECT_THAT(refusal("/nowhere/a.json"), HasSubstr("cannot read /nowhere/a.json"));
  EXPECT_THAT(refusal(written("{")), HasSubstr("it is no JSON ("));
  EXPECT_THAT(refusal(written("[1]")), HasSubstr("it is no JSON object"));
  EXPECT_THAT(refusal(written("{}")), HasSubstr("its schema is missing, not \"condensed-bench/1\""));
  EXPECT_THAT(refusal(written(R"({"schema": "vllm"})")), HasSubstr("its schema is \"vllm\""));
}

TEST_F(ResultsFile, TellsFilesOfOneNameApart) {
  const std::string path = written(json::serialize(sample_report(10)));
  EXPECT_EQ(read_reports({path})[0].name, "results-1");
  const std::vector<NamedReport> twice = read_reports({path, path});
  EXPECT_EQ(twice[0].name, path);
}

}  // namespace
}  // namespace condensed::bench
