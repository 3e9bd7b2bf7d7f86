#include "eval/model_place.h"

#include <new>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device_error.h"

namespace condensed::eval {
namespace {

const kernels::CudaSurvey kOneDevice{.built = true,
                                     .devices = {{.index = 0,
                                                  .name = "T4",
                                                  .memory_bytes = 16'000'000'000,
                                                  .free_bytes = 15'000'000'000,
                                                  .compute_capability = 80}},
                                     .why_none = {},
                                     .free_bytes = {}};

/// The kinds of backends that are tried, the device's with this outcome.
std::vector<std::string> tried(
    const std::string& device, const std::string& kernels, const std::function<void()>& on_device = [] {}) {
  std::vector<std::string> kinds;
  const auto made = make_model_on(device, kernels, kOneDevice, [&](const std::string& kind) {
    kinds.push_back(kind);
    if (kind.starts_with("cuda")) {
      on_device();
    }
    return std::make_shared<engine::Model>();
  });
  EXPECT_NE(made, nullptr);
  return kinds;
}

using testing::ElementsAre;

TEST(ModelPlace, IsTheDeviceUnlessKernelsOfTheProcessorAreAskedFor) {
  EXPECT_THAT(tried("auto", "auto"), ElementsAre("cuda:0"));
  EXPECT_THAT(tried("auto", "reference"), ElementsAre("reference"));
  EXPECT_THAT(tried("cuda", "reference"), ElementsAre("cuda:0"));
  EXPECT_THAT(tried("cpu", "avx2"), ElementsAre("avx2"));
}

TEST(ModelPlace, ADeviceThatCannotTakeTheModelIsLeftByAutoOnly) {
  const auto no_library = [] { throw kernels::DeviceError("there is no libcublas"); };
  const auto no_room = [] { throw kernels::NoRoomError("there is no room"); };
  EXPECT_THAT(tried("auto", "auto", no_library), ElementsAre("cuda:0", "auto"));
  EXPECT_THAT(tried("auto", "auto", no_room), ElementsAre("cuda:0", "auto"));
  EXPECT_THROW(tried("cuda", "auto", no_library), kernels::DeviceError);
  EXPECT_THROW(tried("cuda:0", "auto", no_room), std::bad_alloc);
}

}  // namespace
}  // namespace condensed::eval
