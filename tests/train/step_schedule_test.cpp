#include "train/step_schedule.h"

#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::train {
namespace {

TEST(StepSchedule, ChangesAtItsSteps) {
  const StepSchedule schedule("--sequence", "256,10:512,30:128", 1);
  EXPECT_EQ(schedule.at(0), 256);
  EXPECT_EQ(schedule.at(9), 256);
  EXPECT_EQ(schedule.at(10), 512);
  EXPECT_EQ(schedule.at(29), 512);
  EXPECT_EQ(schedule.at(1'000'000), 128);
  EXPECT_EQ(schedule.largest(), 512);
  EXPECT_EQ(StepSchedule("--sequence", "7", 1).at(123), 7);
}

TEST(StepSchedule, RefusesWhatIsNoSchedule) {
  for (const char* const text :
       {"", "x", "1,2", "5:1", "1,0:2", "1,5:2,5:3", "1,5:2,4:3", "1,5:", "1,:2", "1,5:2x", "0"}) {
    EXPECT_THROW(StepSchedule("--sequence", text, 1), engine::InputError) << text;
  }
  try {
    StepSchedule("--sequence", "256,x:512", 1);
    FAIL();
  } catch (const engine::InputError& error) {
    EXPECT_NE(std::string(error.what()).find("--sequence: \"x:512\" in \"256,x:512\""), std::string::npos)
        << error.what();
  }
}

TEST(LearningRate, RisesThenFallsAlongACosine) {
  const LearningRate rate{.peak = 2, .final_share = 0.1, .warmup_steps = 10, .steps = 110};
  EXPECT_DOUBLE_EQ(rate.at(0), 0.2);
  EXPECT_DOUBLE_EQ(rate.at(9), 2);
  EXPECT_DOUBLE_EQ(rate.at(10), 2);
  EXPECT_DOUBLE_EQ(rate.at(60), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_NEAR(rate.at(110), 0.2, 1e-12);
  EXPECT_NEAR(rate.at(1000), 0.2, 1e-12);
}

}  // namespace
}  // namespace condensed::train
