#include <gtest/gtest.h>

#include "eval/step_latencies_json.h"

namespace condensed::eval {
namespace {

TEST(StepLatencies, QuantilesAreStepsThatWereMeasured) {
  const StepLatencies steps({0.004, 0.001, 0.003, 0.002}, 0.020);
  EXPECT_EQ(steps.at_s(0), 0.001);
  EXPECT_EQ(steps.at_s(0.5), 0.002);
  EXPECT_EQ(steps.at_s(0.51), 0.003);
  EXPECT_EQ(steps.at_s(1), 0.004);
  EXPECT_DOUBLE_EQ(steps.mean_s(), 0.0025);
  EXPECT_DOUBLE_EQ(steps.mean_cpu_s(), 0.005);
  EXPECT_DOUBLE_EQ(to_json(steps).at("max").as_double(), 4);
  EXPECT_DOUBLE_EQ(to_json(steps).at("cpu").as_double(), 5);
}

}  // namespace
}  // namespace condensed::eval
