#include "clients/bench/arrival_times.h"

#include <chrono>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::HasSubstr;

TEST(PoissonArrivals, ComeAtTheirRateAndInOrder) {
  constexpr int kArrivals = 20'000;
  PoissonArrivals arrivals(50, 7);
  nanoseconds previous{0};
  double squares = 0;
  for (int i = 0; i < kArrivals; ++i) {
    const Arrival arrival = *arrivals.next();
    ASSERT_GE(arrival.after_start, previous);
    const double gap_s = std::chrono::duration<double>(arrival.after_start - previous).count();
    squares += gap_s * gap_s;
    previous = arrival.after_start;
    EXPECT_FALSE(arrival.output_tokens);
  }
  // Five standard errors. An exponential distribution's second moment is twice its mean squared.
  EXPECT_NEAR(std::chrono::duration<double>(previous).count(), kArrivals / 50.0, 15);
  EXPECT_NEAR(squares / kArrivals, 2 / 2500.0, 0.00008);
}

TEST(PoissonArrivals, TheSameSeedGivesTheSameTimes) {
  PoissonArrivals one(3, 11);
  PoissonArrivals same(3, 11);
  PoissonArrivals other(3, 12);
  const nanoseconds first = one.next()->after_start;
  EXPECT_EQ(first, same.next()->after_start);
  EXPECT_NE(first, other.next()->after_start);
}

TEST(TraceArrivals, AreThoseOfTheFile) {
  TraceArrivals trace = TraceArrivals::parse("# seconds, tokens\n0\n0.25 12\r\n\n 1.5\t7 \n1.5", "file");
  EXPECT_EQ(trace.next()->after_start, nanoseconds(0));
  const Arrival second = *trace.next();
  EXPECT_EQ(second.after_start, milliseconds(250));
  EXPECT_EQ(second.output_tokens, 12);
  EXPECT_EQ(trace.next()->output_tokens, 7);
  EXPECT_EQ(trace.next()->after_start, milliseconds(1500));
  EXPECT_FALSE(trace.next());
  EXPECT_FALSE(trace.next());
}

TEST(TraceArrivals, WhatIsNoneIsRefusedWithItsLine) {
  const auto refused = [](const std::string& text) {
    try {
      TraceArrivals::parse(text, "file");
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refused("# nothing\n"), HasSubstr("file: expected at least one arrival"));
  for (const char* bad : {"x", "-1", "1 0", "1 2 3", "1s", "nan", "inf", "1e300", "1 1.5", "1 99999999999"}) {
    EXPECT_THAT(refused(std::string("0\n") + bad), HasSubstr("file, line 2: expected SECONDS")) << bad;
  }
  EXPECT_THAT(refused("2\n1\n"), HasSubstr("file, line 2: expected times in order"));
  EXPECT_THROW(TraceArrivals::from_file("/nonexistent/trace"), std::invalid_argument);
}

}  // namespace
}  // namespace condensed::bench
