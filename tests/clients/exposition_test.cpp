#include "clients/condensectl/exposition.h"

#include <cmath>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::ctl {
namespace {

using testing::HasSubstr;
using testing::Optional;
using testing::ThrowsMessage;

TEST(Exposition, SumsTheSeriesThatHaveTheLabels) {
  const Exposition metrics(
      "# HELP a what it is\n# TYPE a gauge\n"
      "a{x=\"1\",y=\"p\"} 2\na{x=\"1\",y=\"q\"} 3.5\na{x=\"2\"} 1e2\n"
      "ab 7\n"
      "old 8 1395066363000\n"
      "least -Inf\n");
  EXPECT_EQ(metrics.sum("a"), 105.5);
  EXPECT_EQ(metrics.sum("a", {{"x", "1"}}), 5.5);
  EXPECT_EQ(metrics.sum("a", {{"x", "1"}, {"y", "q"}}), 3.5);
  EXPECT_EQ(metrics.sum("a", {{"z", "1"}}), 0);
  EXPECT_EQ(metrics.sum("ab"), 7);
  EXPECT_EQ(metrics.sum("old"), 8);
  EXPECT_EQ(metrics.sum("least"), -INFINITY);
  EXPECT_EQ(metrics.sum("none"), 0);
}

TEST(Exposition, LabelsAreUnescaped) {
  const Exposition metrics("a{x=\"say \\\"hi\\\", \\\\ and {n}\\n\",} 1");
  EXPECT_EQ(metrics.sum("a", {{"x", "say \"hi\", \\ and {n}\n"}}), 1);
}

TEST(Exposition, SaysWhichLineIsNoSample) {
  for (const char* line :
       {"a", "a{", "a{x}", "a{x=1} 2", "a{x=\"1} 2", "a{x=\"1\"}", "a two", "a ", "a{x=\"1\\"}) {
    EXPECT_THAT([&] { Exposition("fine 1\n" + std::string(line) + "\n"); },
                ThrowsMessage<std::runtime_error>(HasSubstr("no sample: " + std::string(line))))
        << line;
  }
}

TEST(Exposition, HistogramsAreReadInTheOrderOfTheirBounds) {
  const Exposition metrics(
      "h_bucket{le=\"+Inf\"} 9\nh_bucket{le=\"10\"} 5\nh_bucket{le=\"2.5\"} 3\nh_sum 44\nh_count 9\n");
  const Histogram histogram = metrics.histogram("h");
  ASSERT_EQ(histogram.buckets.size(), 3U);
  EXPECT_EQ(histogram.buckets[0].bound, 2.5);
  EXPECT_EQ(histogram.buckets[1].count, 5);
  EXPECT_EQ(histogram.buckets[2].bound, INFINITY);
  EXPECT_EQ(histogram.count(), 9);
  EXPECT_EQ(histogram.sum, 44);
  EXPECT_EQ(metrics.histogram("none").count(), 0);
}

const Histogram kHistogram{.buckets = {{1, 10}, {2, 10}, {4, 30}, {INFINITY, 40}}, .sum = 200};

TEST(Quantile, IsPrometheus) {
  EXPECT_THAT(quantile(kHistogram, 0.125), Optional(0.5));  // halfway through the first bucket, from 0
  EXPECT_THAT(quantile(kHistogram, 0.25), Optional(1.0));
  EXPECT_THAT(quantile(kHistogram, 0.5), Optional(3.0));  // halfway from 2 to 4
  EXPECT_THAT(quantile(kHistogram, 0.75), Optional(4.0));
  EXPECT_THAT(quantile(kHistogram, 0.99), Optional(4.0));  // above the last bound, nobody knows where
  EXPECT_THAT(mean(kHistogram), Optional(5.0));
}

TEST(Quantile, OfNothingIsNone) {
  EXPECT_EQ(quantile({}, 0.5), std::nullopt);
  EXPECT_EQ(quantile({.buckets = {{1, 0}, {INFINITY, 0}}}, 0.5), std::nullopt);
  EXPECT_EQ(mean({}), std::nullopt);
}

TEST(Difference, IsWhatCameBetween) {
  const Histogram later{.buckets = {{1, 10}, {2, 60}, {4, 80}, {INFINITY, 90}}, .sum = 300};
  const Histogram between = difference(later, kHistogram);
  EXPECT_EQ(between.count(), 50);
  EXPECT_EQ(between.sum, 100);
  EXPECT_THAT(quantile(between, 0.5), Optional(1.5));
  EXPECT_EQ(difference(later, {}).count(), 90);
}

}  // namespace
}  // namespace condensed::ctl
