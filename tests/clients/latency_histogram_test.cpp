#include "clients/bench/latency_histogram.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "clients/bench/histogram_encoding.h"
#include "clients/cpp/base64.h"

namespace condensed::bench {
namespace {

// Written by HdrHistogram's Java and C libraries alike: (1, 2048, 3) with one value of 2048.
constexpr const char* kOf2048 = "HISTFAAAACB4nJNpmSzMwMDAzAABMJoRQnEw2H+AsP7LMwEARZgDpQ==";
// Written by its port to Vala: (1, 300, 3) with 100, 200 and 250.
constexpr const char* kOfThree = "HISTFAAAACV4nJNpmSzMwMDAwQABzFCaEUrp2H+AsI4zMh1lZEpkAgBdIQSk";

LatencyHistogram histogram_of(const std::vector<std::int64_t>& values, int digits = 3) {
  LatencyHistogram histogram(digits);
  for (const std::int64_t value : values) {
    histogram.record(value);
  }
  return histogram;
}

std::vector<std::int64_t> skewed_values(std::size_t n) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(11, 2);
  std::vector<std::int64_t> values(n);
  std::generate(values.begin(), values.end(), [&] { return static_cast<std::int64_t>(latency(random)); });
  return values;
}

void expect_equal(const LatencyHistogram& a, const LatencyHistogram& b) {
  EXPECT_EQ(a.count(), b.count());
  EXPECT_TRUE(std::equal(a.counts().begin(), a.counts().end(), b.counts().begin(), b.counts().end()));
}

TEST(LatencyHistogram, AgreesWithTheSortedValuesWithinItsDigits) {
  for (const int digits : {1, 2, 3}) {
    std::vector<std::int64_t> values = skewed_values(50000);
    const LatencyHistogram histogram = histogram_of(values, digits);
    std::sort(values.begin(), values.end());
    const double error = std::pow(10, -digits);
    for (const double q : {0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
      const auto rank = static_cast<std::size_t>(std::ceil(q * 50000));
      const auto exact = static_cast<double>(values[std::max<std::size_t>(rank, 1) - 1]);
      EXPECT_NEAR(static_cast<double>(histogram.value_at_quantile(q)), exact, exact * error + 1) << q;
    }
    double sum = 0;
    for (const std::int64_t value : values) sum += static_cast<double>(value);
    EXPECT_NEAR(histogram.mean(), sum / 50000, sum / 50000 * error);
  }
}

// hdr-histogram-js 3.0 says the same of these values.
TEST(LatencyHistogram, SaysWhatHdrHistogramSays) {
  const LatencyHistogram histogram = histogram_of({1, 2, 2, 1000, 2047, 2048, 2049, 4096, 100000});
  EXPECT_EQ(histogram.min(), 1);
  EXPECT_EQ(histogram.max(), 100031);
  EXPECT_NEAR(histogram.mean(), 12360.889, 0.0005);
  EXPECT_NEAR(histogram.standard_deviation(), 31011.210, 0.0005);
  EXPECT_EQ(histogram.value_at_quantile(0.5), 2047);
  EXPECT_EQ(histogram.value_at_quantile(0.75), 2049);
  EXPECT_EQ(histogram.value_at_quantile(0.85), 4099);
  EXPECT_EQ(histogram.count_up_to(2048), 7);  // which has 2049's bucket
}

TEST(LatencyHistogram, PercentilesAreThoseOfTheirIterator) {
  const auto points = histogram_of({1, 2, 2, 1000, 2047, 2048, 2049, 4096, 100000}).percentiles();
  ASSERT_EQ(points.size(), 19U);
  EXPECT_DOUBLE_EQ(points[5].quantile, 0.5);
  EXPECT_EQ(points[5].value_ns, 2047);
  EXPECT_EQ(points[5].count_up_to, 5);
  EXPECT_DOUBLE_EQ(points[16].quantile, 0.8875);
  EXPECT_EQ(points[16].value_ns, 4099);
  EXPECT_EQ(points.back().quantile, 1);
  EXPECT_EQ(points.back().value_ns, 100031);
  EXPECT_EQ(points.back().count_up_to, 9);
}

TEST(LatencyHistogram, EmptyAndExtremeValuesAreFine) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.value_at_quantile(0.5), 0);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_TRUE(histogram.percentiles().empty());
  histogram.record(-5);
  histogram.record(std::numeric_limits<std::int64_t>::max());
  histogram.record_n(10, 0);
  EXPECT_EQ(histogram.count(), 2);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), std::numeric_limits<std::int64_t>::max());
  EXPECT_THROW(LatencyHistogram(0), std::invalid_argument);
  EXPECT_THROW(LatencyHistogram(6), std::invalid_argument);
}

TEST(LatencyHistogram, MergedIsAsIfRecordedTogether) {
  const std::vector<std::int64_t> values = skewed_values(4000);
  const auto middle = values.begin() + 1500;
  LatencyHistogram parts = histogram_of({values.begin(), middle});
  parts.merge(histogram_of({middle, values.end()}));
  expect_equal(parts, histogram_of(values));
  LatencyHistogram coarse(2);
  coarse.merge(parts);
  EXPECT_EQ(coarse.count(), parts.count());
  const auto p99 = static_cast<double>(parts.value_at_quantile(0.99));
  EXPECT_NEAR(static_cast<double>(coarse.value_at_quantile(0.99)), p99, 0.015 * p99);
  parts.clear();
  expect_equal(parts, LatencyHistogram());
}

TEST(HistogramEncoding, ReadsWhatOthersWrote) {
  expect_equal(decoded(kOf2048), histogram_of({2048}));
  expect_equal(decoded(kOfThree), histogram_of({100, 200, 250}));
}

// hdr-histogram-js 3.0 reads this string as these values.
TEST(HistogramEncoding, WritesWhatOthersRead) {
  EXPECT_EQ(encoded(histogram_of({1, 2, 2, 1000, 2047, 2048, 2049, 4096, 100000})),
            "HISTFAAAADB4nJNpmSzMwMAgwAABzFCaEch0M9ixgMH+A1SEieUkP9NqASaWv/xMGz2YALGeCAU=");
}

TEST(HistogramEncoding, ComesBackAsItWas) {
  for (const int digits : {1, 2, 3, 5}) {
    LatencyHistogram histogram = histogram_of(skewed_values(3000), digits);
    histogram.record_n(5, std::int64_t{1} << 40);
    histogram.record(std::numeric_limits<std::int64_t>::max());
    const LatencyHistogram back = decoded(encoded(histogram));
    expect_equal(back, histogram);
    EXPECT_EQ(back.significant_digits(), digits);
  }
  EXPECT_TRUE(decoded(encoded(LatencyHistogram())).empty());
}

TEST(HistogramEncoding, DamageIsRefusedWithWhatIsWrong) {
  const std::string good = encoded(histogram_of(skewed_values(300)));
  EXPECT_THROW(decoded(""), BadHistogram);
  EXPECT_THROW(decoded("not base64!"), BadHistogram);
  const std::string bytes = *client::from_base64(good);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_THROW(decoded(client::to_base64(bytes.substr(0, n))), BadHistogram) << n;
  }
  const std::size_t last_of_deflate = bytes.size() - 5;  // before the checksum; its upper bits mean nothing
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    if (i != last_of_deflate) {
      EXPECT_THROW(decoded(client::to_base64(damaged)), BadHistogram) << i;
    }
  }
  // One with 0 digits, and one whose lowest value is 20,000, of other libraries.
  EXPECT_THROW(decoded("HISTFAAAABl42pNpmSzMwMDAyIAKYHwm+w9QFgA8ewJ6"), BadHistogram);
  EXPECT_THROW(
      decoded("HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekI"
              "LGZkKmcCAEf2CsI="),
      BadHistogram);
}

TEST(HistogramEncoding, TextIsThatOfHdrHistogramInMilliseconds) {
  const std::string text = percentile_text(histogram_of({1'000'000, 2'000'000}));
  EXPECT_TRUE(
      text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
                       "    1.000447 0.000000000000          1           1.00\n"))
      << text;
  EXPECT_NE(text.find("    2.000895 1.000000000000          2\n"
                      "#[Mean    =     1.500288, StdDeviation   =     0.500096]\n"
                      "#[Max     =     2.000895, Total count    =            2]\n"),
            text.npos)
      << text;
}

}  // namespace
}  // namespace condensed::bench
