#include "clients/bench/slo.h"

#include <stdexcept>

#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

using namespace std::chrono_literals;

TEST(Durations, HaveUnits) {
  EXPECT_EQ(parsed_duration("20ms", "x"), 20ms);
  EXPECT_EQ(parsed_duration("1.5s", "x"), 1500ms);
  EXPECT_EQ(parsed_duration("300us", "x"), 300us);
  EXPECT_EQ(parsed_duration("10m", "x"), 10min);
  EXPECT_EQ(parsed_duration("2h", "x"), 2h);
  EXPECT_EQ(parsed_duration("3", "x"), 3s);
  for (const char* bad : {"", "ms", "-1s", "1x", "1 s", "nan", "inf", "1e300s"}) {
    EXPECT_THROW(parsed_duration(bad, "x"), std::invalid_argument) << bad;
  }
}

TEST(Slo, KeepsWhatHasNoLimitOrIsWithinIt) {
  const Slo slo("ttft=200ms,itl=50ms");
  EXPECT_TRUE(slo.keeps(Figure::itl, 50ms));
  EXPECT_FALSE(slo.keeps(Figure::itl, 51ms));
  EXPECT_FALSE(slo.keeps(Figure::ttft, 1s));
  EXPECT_TRUE(slo.keeps(Figure::e2el, 1h));
  EXPECT_TRUE(Slo("").limits().empty());
}

TEST(Slo, RefusesWhatItDoesNotKnow) {
  for (const char* bad : {"ttft", "ttft=", "x=1s", "wake=1s", "ttft=1s,ttft=2s", "ttft=1s;itl=2s", "=1s"}) {
    EXPECT_THROW(Slo{bad}, std::invalid_argument) << bad;
  }
}

}  // namespace
}  // namespace condensed::bench
