#include "eval/statistics.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::eval {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

TEST(Statistics, AMeanHasStudentsInterval) {
  // Mean 3, standard error sqrt(2.5 / 5); the 97.5% quantile of t with 4 degrees of freedom is 2.776445.
  const Estimate estimate = estimate_mean(std::vector<double>{1, 2, 3, 4, 5});
  EXPECT_DOUBLE_EQ(estimate.value, 3);
  EXPECT_NEAR(estimate.low, 3 - 2.776445 * std::sqrt(0.5), 1e-5);
  EXPECT_NEAR(estimate.high, 3 + 2.776445 * std::sqrt(0.5), 1e-5);
}

TEST(Statistics, OneValueSaysNothingOfItsSpread) {
  const Estimate estimate = estimate_mean(std::vector<double>{7});
  EXPECT_EQ(estimate.value, 7);
  EXPECT_EQ(interval_json(estimate), (boost::json::array{nullptr, nullptr}));
}

TEST(Statistics, AShareHasWilsonsInterval) {
  // The textbook's: 8 of 10 are 0.490 to 0.943.
  const Estimate most = estimate_share(0.8, 10);
  EXPECT_NEAR(most.low, 0.490, 5e-4);
  EXPECT_NEAR(most.high, 0.943, 5e-4);
  const Estimate none = estimate_share(0, 50);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.0713, 5e-4);
  EXPECT_EQ(estimate_share(1, 50).high, 1);
}

TEST(Statistics, BatchMeansCoverEveryValueOnce) {
  const std::vector<double> values{1, 2, 3, 4, 5, 6, 7};
  EXPECT_THAT(batch_means(values, 3), ElementsAre(1.5, 3.5, DoubleNear(6, 1e-12)));
  EXPECT_THAT(batch_means(values, 100), ElementsAre(1, 2, 3, 4, 5, 6, 7));
}

}  // namespace
}  // namespace condensed::eval
