#include "engine/failpoints.h"

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "kernels/device_error.h"

namespace condensed::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(Failpoints, SleepWhereAndWhenTheyAreToldTo) {
  const Failpoints failpoints("step=sleep:80ms/every:5000;step=sleep:200us;between_steps=sleep:1s");
  EXPECT_EQ(failpoints.delay(Failpoint::step, 4999), microseconds(200));
  EXPECT_EQ(failpoints.delay(Failpoint::step, 5000), milliseconds(80) + microseconds(200));
  EXPECT_EQ(failpoints.delay(Failpoint::step, 10'000), milliseconds(80) + microseconds(200));
  EXPECT_EQ(failpoints.delay(Failpoint::between_steps, 1), std::chrono::seconds(1));
  EXPECT_EQ(failpoints.delay(Failpoint::start, 0), microseconds(0));
}

TEST(Failpoints, ThereAreNoneUnlessNamed) {
  EXPECT_EQ(Failpoints("").delay(Failpoint::step, 1), microseconds(0));
}

TEST(Failpoints, WhoPassesSleeps) {
  const Failpoints failpoints("step=sleep:5ms/every:2");
  const auto before = std::chrono::steady_clock::now();
  failpoints.pass(Failpoint::step, 2);
  EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(5));
}

TEST(Failpoints, WhatCannotBeReadIsRefusedWithTheReason) {
  const auto refused = [](const std::string& text) {
    try {
      const Failpoints failpoints(text);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted: " + text);
  };
  using testing::HasSubstr;
  EXPECT_THAT(refused("stop=sleep:1ms"), HasSubstr("expected start, between_steps, step or restart"));
  EXPECT_THAT(refused("step"), HasSubstr("expected sleep:DURATION"));
  EXPECT_THAT(refused("step=wait:1ms"), HasSubstr("expected sleep:DURATION"));
  for (const char* duration :
       {"", "ms", "0ms", "-1ms", "2h", "1", "1.5ms", "4000s", "9999999999999999999s"}) {
    EXPECT_THAT(refused("step=sleep:" + std::string(duration)), HasSubstr("CONDENSED_FAILPOINTS: expected"));
  }
  EXPECT_THAT(refused("step=sleep:1ms/each:3"), HasSubstr("expected every:N"));
  for (const char* every : {"", "0", "-2", "x", "3x", "3/every:4"}) {
    EXPECT_THAT(refused("step=sleep:1ms/every:" + std::string(every)),
                HasSubstr("CONDENSED_FAILPOINTS: expected"));
  }
  EXPECT_THAT(refused(";"), HasSubstr("CONDENSED_FAILPOINTS: expected"));
}

TEST(Failpoints, StepsAndRestartsCanFail) {
  const Failpoints planted("step=fail/every:3;restart=fail;step=sleep:1us");
  EXPECT_FALSE(planted.fails(Failpoint::step, 2));
  EXPECT_TRUE(planted.fails(Failpoint::step, 6));
  EXPECT_TRUE(planted.fails(Failpoint::restart, 1));
  EXPECT_FALSE(planted.fails(Failpoint::start, 0));
  EXPECT_THROW(planted.pass(Failpoint::step, 3), kernels::DeviceError);
  planted.pass(Failpoint::step, 4);
  EXPECT_THROW(Failpoints("start=fail"), InputError);
  EXPECT_THROW(Failpoints("step=fail:1ms"), InputError);
}

}  // namespace
}  // namespace condensed::engine
