#include "daemon/model_loading.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device_error.h"

namespace condensed::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::size_t kGB = 1'000'000'000;
constexpr engine::MemoryPlan kPlan{.weights = 13 * kGB, .workspace = kGB, .session = kGB / 2};

kernels::CudaSurvey device_with(std::size_t free_bytes) {
  return {.built = true,
          .devices = {{.index = 1,
                       .name = "H200",
                       .memory_bytes = 140 * kGB,
                       .free_bytes = free_bytes,
                       .compute_capability = 90}},
          .why_none = {}};
}

TEST(ModelLoading, ADeviceWithRoomGetsTheModel) {
  for (const char* setting : {"auto", "cuda", "cuda:1"}) {
    const Placement placement = place_model(setting, device_with(24 * kGB), kPlan);
    ASSERT_TRUE(placement.device) << setting;
    EXPECT_THAT(placement.reason,
                AllOf(HasSubstr("on cuda:1 (H200"), HasSubstr("room for 20 sessions of 0.50 GB")));
    EXPECT_EQ(placement.cache_bytes(), 9 * kGB);
  }
  const Placement placement = place_model("cpu", device_with(24 * kGB), kPlan);
  EXPECT_FALSE(placement.device);
  EXPECT_EQ(placement.cache_bytes(), 0);
}

TEST(ModelLoading, TooLittleMemoryIsToldWithItsArithmetic) {
  for (const char* setting : {"cuda", "cuda:1"}) {
    try {
      place_model(setting, device_with(8 * kGB), kPlan);
      ADD_FAILURE() << "placed";
    } catch (const kernels::DeviceError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("too little memory on cuda:1"),
                                      HasSubstr("13.00 GB of weights"), HasSubstr("1.00 GB of workspace"),
                                      HasSubstr("lack 6.00 GB"), HasSubstr("use fewer bits")));
    }
  }
  // Room for the weights and for not one session.
  EXPECT_THROW(place_model("cuda", device_with(14 * kGB + kGB / 4), kPlan), kernels::DeviceError);
}

TEST(ModelLoading, WhatIsPlacedHasRoomForASession) {
  const Placement placement = place_model("cuda", device_with(14 * kGB + kPlan.session), kPlan);
  EXPECT_EQ(placement.cache_bytes(), kPlan.session);
}

TEST(ModelLoading, OnlyAutoFallsBack) {
  Settings settings;
  for (const char* setting : {"cuda", "cuda:1"}) {
    settings.device = setting;
    Placement placement = place_model(setting, device_with(24 * kGB), kPlan);
    EXPECT_FALSE(fall_back(settings, placement, "it burns"));
    EXPECT_TRUE(placement.device);
  }
  settings.device = "auto";
  Placement placement = place_model("auto", device_with(24 * kGB), kPlan);
  EXPECT_TRUE(fall_back(settings, placement, "it burns"));
  EXPECT_FALSE(placement.device);
  EXPECT_EQ(placement.reason, "on the processor: it burns");
  EXPECT_FALSE(fall_back(settings, placement, "again"));
}

TEST(ModelLoading, AutoTakesTheProcessorWhereADeviceLacksRoom) {
  const Placement placement = place_model("auto", device_with(8 * kGB), kPlan);
  EXPECT_FALSE(placement.device);
  EXPECT_THAT(placement.reason,
              AllOf(HasSubstr("on the processor: too little memory"), HasSubstr("lack 6.00 GB")));
}

TEST(ModelLoading, PlansWhatWillBeLoaded) {
  Settings settings;
  settings.model = std::string(CONDENSED_MODELS_DIR) + "/books-1m";
  settings.device = "cpu";
  for (const char* weights : {"stored", "q8", "f16"}) {
    settings.weights = weights;
    Placement placement;
    const auto model = load_model(settings, placement);
    EXPECT_EQ(placement.plan.weights, model->weights.bytes()) << weights;
    EXPECT_EQ(placement.plan.session, 1024U * 768) << weights;
  }
}

}  // namespace
}  // namespace condensed::daemon
