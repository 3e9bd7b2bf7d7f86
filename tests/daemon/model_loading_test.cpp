#include "daemon/model_loading.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device_error.h"
#include "kernels/make_backend.h"
#include "tests/kernels/forwarding_backend.h"

namespace condensed::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::size_t kGB = 1'000'000'000;
constexpr std::size_t kKept = kernels::cuda_kept_bytes(140 * kGB);
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
    const Placement placement = place_model(setting, device_with(24 * kGB + kKept), kPlan);
    ASSERT_TRUE(placement.device) << setting;
    EXPECT_THAT(placement.reason,
                AllOf(HasSubstr("on cuda:1 (H200"), HasSubstr("1.07 GB for what steps take beside"),
                      HasSubstr("room for 20 sessions of 0.50 GB")));
    EXPECT_EQ(placement.cache_bytes(), 9 * kGB);
  }
  const Placement placement = place_model("cpu", device_with(24 * kGB), kPlan);
  EXPECT_FALSE(placement.device);
  EXPECT_EQ(placement.cache_bytes(), 0);
}

TEST(ModelLoading, TooLittleMemoryIsToldWithItsArithmetic) {
  for (const char* setting : {"cuda", "cuda:1"}) {
    try {
      place_model(setting, device_with(8 * kGB + kKept), kPlan);
      ADD_FAILURE() << "placed";
    } catch (const kernels::DeviceError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("too little memory on cuda:1"),
                                      HasSubstr("13.00 GB of weights"), HasSubstr("1.00 GB of workspace"),
                                      HasSubstr("lack 6.00 GB"), HasSubstr("use fewer bits")));
    }
  }
  // Room for the weights, and for not one session beside what steps take.
  EXPECT_THROW(place_model("cuda", device_with(14 * kGB + kKept + kGB / 4), kPlan), kernels::DeviceError);
}

TEST(ModelLoading, WhatIsPlacedHasRoomForASession) {
  const Placement placement = place_model("cuda", device_with(14 * kGB + kKept + kPlan.session), kPlan);
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
  const Placement placement = place_model("auto", device_with(8 * kGB + kKept), kPlan);
  EXPECT_FALSE(placement.device);
  EXPECT_THAT(placement.reason,
              AllOf(HasSubstr("on the processor: too little memory"), HasSubstr("lack 6.00 GB")));
}

TEST(ModelLoading, WithoutANumberTheNextDeviceIsTaken) {
  kernels::CudaSurvey survey = device_with(8 * kGB);
  survey.devices.push_back({.index = 0,
                            .name = "A100",
                            .memory_bytes = 80 * kGB,
                            .free_bytes = 70 * kGB,
                            .compute_capability = 80});
  for (const char* setting : {"auto", "cuda"}) {
    const Placement placement = place_model(setting, survey, kPlan);
    ASSERT_TRUE(placement.device) << setting;
    EXPECT_EQ(placement.device->index, 0);
    EXPECT_THAT(placement.reason, HasSubstr("on cuda:0 (A100"));
  }
  EXPECT_THROW(place_model("cuda:1", survey, kPlan), kernels::DeviceError);
  survey.devices[1].free_bytes = kGB;
  EXPECT_THAT(place_model("auto", survey, kPlan).reason,
              AllOf(HasSubstr("on the processor: too little memory on cuda:1"), HasSubstr("; on cuda:0")));
  EXPECT_THROW(place_model("cuda", survey, kPlan), kernels::DeviceError);
}

/// A device that loads any model, and does not do everything with it.
class LackingDevice : public kernels::test::ForwardingBackend {
 public:
  explicit LackingDevice(std::string lack)
      : ForwardingBackend(kernels::make_backend("auto", 1)), lack_(std::move(lack)) {}

  std::string_view name() const override { return "lacking"; }
  std::size_t reserve(std::size_t bytes) override { return lack_ == "caches" ? 1000 : bytes; }

 private:
  void before(std::string_view operation) override {
    if (operation == lack_) {
      throw kernels::DeviceError("no " + lack_ + " here");
    }
    if (operation == "store_kv" && lack_ == "scratch") {
      throw kernels::NoRoomError("no room for scratch memory");
    }
  }

  std::string lack_;
};

TEST(ModelLoading, ADeviceThatCannotServeIsLeftByAutoBeforeItDoes) {
  Settings settings;
  settings.model = std::string(CONDENSED_MODELS_DIR) + "/books-1m";
  for (const char* lack : {"attend", "choose_tokens", "caches", "scratch"}) {
    SCOPED_TRACE(lack);
    const auto make = [&](const Placement& placement) -> std::unique_ptr<kernels::Backend> {
      return placement.device ? std::make_unique<LackingDevice>(lack) : kernels::make_backend("auto", 1);
    };
    settings.device = "auto";
    Placement placement = place_model("auto", device_with(24 * kGB), plan_memory(settings));
    const auto model = load_model_at(settings, placement, make);
    EXPECT_FALSE(placement.device);
    EXPECT_NE(model->backend->name(), "lacking");
    settings.device = "cuda";
    placement = place_model("cuda", device_with(24 * kGB), plan_memory(settings));
    EXPECT_ANY_THROW(load_model_at(settings, placement, make));
  }
}

TEST(ModelLoading, ADeviceThatServesKeepsTheModel) {
  Settings settings;
  settings.model = std::string(CONDENSED_MODELS_DIR) + "/books-1m";
  Placement placement = place_model("auto", device_with(24 * kGB), plan_memory(settings));
  const auto model = load_model_at(settings, placement,
                                   [](const auto&) { return std::make_unique<LackingDevice>("nothing"); });
  EXPECT_TRUE(placement.device);
  EXPECT_EQ(model->backend->name(), "lacking");
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
