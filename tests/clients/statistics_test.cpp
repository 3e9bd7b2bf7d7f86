#include "clients/bench/statistics.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

/// Parts of equal weight.
std::vector<Part> parts(std::initializer_list<double> values) {
  std::vector<Part> out;
  for (const double value : values) {
    out.push_back({.weight = 1, .value = value});
  }
  return out;
}

// Ten parts that go up and down: neighbours do not resemble each other.
const std::vector<Part> kAlternating = parts({1, 3, 1, 3, 1, 3, 1, 3, 1, 3});

TEST(Statistics, MeanAndStudentsIntervalOfIndependentParts) {
  const auto estimate = estimated(kAlternating);
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->value, 2);
  // Ten deviations of 1: s = sqrt(10/9), s/sqrt(10) = 1/3.
  EXPECT_NEAR(estimate->standard_error, 1.0 / 3, 1e-12);
  EXPECT_EQ(estimate->degrees_of_freedom, 9);
  EXPECT_EQ(estimate->parts, 10U);
  // From the tables of t: 2.262157 for 9 degrees of freedom and 95%, 3.249836 for 99%.
  EXPECT_NEAR(estimate->half_width(0.95), 2.262157 / 3, 1e-6);
  EXPECT_NEAR(estimate->half_width(0.99), 3.249836 / 3, 1e-6);
}

TEST(Statistics, PartsCountByWhatTheyStandFor) {
  std::vector<Part> all = kAlternating;
  all.push_back({.weight = 10, .value = 5});
  const auto estimate = estimated(all);
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->value, (20 + 50) / 20.0);
}

TEST(Statistics, WeightsEnterTheErrorAsARatiosDo) {
  // Means of 1 and 2, weights of 1 and 3: 1.75 all in all; residuals -0.75 · 1/2 and 0.25 · 3/2.
  std::vector<Part> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back({.weight = 1, .value = 1});
    all.push_back({.weight = 3, .value = 2});
  }
  const auto estimate = estimated(all);
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->value, 1.75);
  EXPECT_NEAR(estimate->standard_error, std::sqrt(12 * 0.375 * 0.375 / 11 / 12), 1e-12);
}

TEST(Statistics, NeighboursThatResembleEachOtherTellLess) {
  // The same values as above, in two halves. Residuals -1 five times, then 1 five times: of the nine products
  // of neighbours eight are 1 and one is -1, so r = 0.7 and ten parts are worth 10 · 0.3 / 1.7.
  const auto estimate = estimated(parts({1, 1, 1, 1, 1, 3, 3, 3, 3, 3}));
  ASSERT_TRUE(estimate);
  EXPECT_DOUBLE_EQ(estimate->value, 2);
  const double worth = 10 * 0.3 / 1.7;
  EXPECT_NEAR(estimate->standard_error, std::sqrt(10.0 / 9 / worth), 1e-12);
  EXPECT_EQ(estimate->degrees_of_freedom, 1);
}

TEST(Statistics, TooFewPartsSayNothing) {
  EXPECT_FALSE(estimated(parts({1, 2, 1, 2, 1, 2, 1, 2, 1})));
  EXPECT_FALSE(estimated({}));
}

TEST(Statistics, PartsThatAreAllTheSameLeaveNoDoubt) {
  const auto estimate = estimated(parts({2, 2, 2, 2, 2, 2, 2, 2, 2, 2}));
  ASSERT_TRUE(estimate);
  EXPECT_EQ(estimate->half_width(0.95), 0);
  EXPECT_EQ(difference(*estimate, *estimate).half_width(0.95), 0);
}

TEST(Statistics, DifferencesAddTheirErrorsAsWelchDid) {
  const Estimate earlier{.value = 10, .standard_error = 0.3, .degrees_of_freedom = 9, .parts = 10};
  const Estimate later{.value = 12, .standard_error = 0.4, .degrees_of_freedom = 19, .parts = 20};
  const Estimate change = difference(later, earlier);
  EXPECT_DOUBLE_EQ(change.value, 2);
  EXPECT_DOUBLE_EQ(change.standard_error, 0.5);
  // (0.09 + 0.16)² / (0.09²/9 + 0.16²/19)
  EXPECT_NEAR(change.degrees_of_freedom, 0.0625 / (0.0081 / 9 + 0.0256 / 19), 1e-9);
  // t for 27.808 degrees of freedom lies between those for 27 and 28: 2.051831 and 2.048407.
  EXPECT_GT(change.half_width(0.95), 0.5 * 2.048407);
  EXPECT_LT(change.half_width(0.95), 0.5 * 2.051831);
}

}  // namespace
}  // namespace condensed::bench
