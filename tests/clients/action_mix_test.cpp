#include "clients/bench/action_mix.h"

#include <map>
#include <stdexcept>

#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

TEST(ActionMix, DrawsByWeight) {
  const ActionMix mix("talk=6,open=3,close=1,fork=0");
  std::mt19937_64 random(5);
  std::map<Action, int> drawn;
  for (int i = 0; i < 10'000; ++i) {
    ++drawn[mix.draw(random)];
  }
  EXPECT_NEAR(drawn[Action::talk], 6000, 250);  // five standard errors
  EXPECT_NEAR(drawn[Action::open], 3000, 230);
  EXPECT_NEAR(drawn[Action::close], 1000, 150);
  EXPECT_EQ(drawn[Action::fork], 0);
  EXPECT_EQ(drawn[Action::rest], 0);
}

TEST(ActionMix, IsRefusedUnlessItIsOne) {
  for (const char* bad : {"", "talk", "talk=", "talk=0", "talk=-1", "talk=x", "talk=1.5", "open=1",
                          "talk=1,sing=2", "talk=1,,open=1", "talk=1000001"}) {
    EXPECT_THROW(ActionMix mix(bad), std::invalid_argument) << bad;
  }
}

}  // namespace
}  // namespace condensed::bench
