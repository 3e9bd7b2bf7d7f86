#include "kernels/device_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device_error.h"

namespace condensed::kernels {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::size_t kGB = 1'000'000'000;

CudaSurvey two_devices() {
  return {.built = true,
          .devices = {{.index = 0,
                       .name = "H200",
                       .memory_bytes = 140 * kGB,
                       .free_bytes = 3 * kGB,
                       .compute_capability = 90},
                      {.index = 2,
                       .name = "A100",
                       .memory_bytes = 80 * kGB,
                       .free_bytes = 79 * kGB,
                       .compute_capability = 80}},
          .why_none = {},
          .free_bytes = {}};
}

DeviceChoice choose(std::string_view setting, const CudaSurvey& survey) {
  return choose_device(parse_device(setting).value(), survey);
}

std::string refusal(std::string_view setting, const CudaSurvey& survey) {
  try {
    choose(setting, survey);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

TEST(DeviceChoice, ReadsItsSetting) {
  EXPECT_FALSE(parse_device("cpu")->cuda);
  EXPECT_TRUE(parse_device("auto")->may_fall_back);
  EXPECT_FALSE(parse_device("cuda")->may_fall_back);
  EXPECT_EQ(parse_device("cuda")->index, std::nullopt);
  EXPECT_EQ(parse_device("cuda:3")->index, 3);
  for (const char* bad :
       {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda:99999999999", "CPU", "cuda0"}) {
    EXPECT_EQ(parse_device(bad), std::nullopt) << bad;
  }
}

TEST(DeviceChoice, TheProcessorNeedsNoSurvey) {
  const DeviceChoice choice = choose("cpu", two_devices());
  EXPECT_EQ(choice.device, std::nullopt);
  EXPECT_EQ(choice.backend_kind("avx2"), "avx2");
}

TEST(DeviceChoice, TakesTheDeviceWithTheMostMemory) {
  for (const char* setting : {"auto", "cuda"}) {
    const DeviceChoice choice = choose(setting, two_devices());
    EXPECT_EQ(choice.backend_kind("auto"), "cuda:0");
    EXPECT_EQ(choice.reason, "on cuda:0 (H200, compute capability 9.0, 3.0 of 140.0 GB free)");
  }
  EXPECT_EQ(choose("cuda:2", two_devices()).backend_kind("auto"), "cuda:2");
}

TEST(DeviceChoice, AsksOnlyTheChosenDeviceWhatIsFree) {
  CudaSurvey survey = two_devices();
  std::vector<int> asked;
  survey.free_bytes = [&](int index) {
    asked.push_back(index);
    return 5 * kGB;
  };
  EXPECT_EQ(choose("cuda:2", survey).device->free_bytes, 5 * kGB);
  EXPECT_THAT(choose("cuda:2", survey).reason, HasSubstr("5.0 of 80.0 GB free"));
  EXPECT_THAT(asked, testing::Each(2));
}

TEST(DeviceChoice, ADeviceThatDoesNotAnswerIsLeftByAutoOnly) {
  CudaSurvey survey = two_devices();
  survey.free_bytes = [](int) -> std::size_t { throw DeviceError("device 0 is at fault"); };
  EXPECT_EQ(choose("auto", survey).device, std::nullopt);
  EXPECT_EQ(choose("auto", survey).reason, "on the processor: device 0 is at fault");
  EXPECT_EQ(refusal("cuda", survey), "device 0 is at fault");
}

TEST(DeviceChoice, SaysWhichDevicesThereAre) {
  EXPECT_THAT(refusal("cuda:1", two_devices()), AllOf(HasSubstr("cuda:1: there is none of that number"),
                                                      HasSubstr("cuda:0 (H200"), HasSubstr("cuda:2 (A100")));
}

TEST(DeviceChoice, SaysWhyThereIsNone) {
  const CudaSurvey without{};
  EXPECT_THAT(refusal("cuda", without), AllOf(HasSubstr("without CUDA"), HasSubstr("device = \"cpu\"")));
  EXPECT_THAT(refusal("cuda:0", without), HasSubstr("without CUDA"));
  EXPECT_EQ(choose("auto", without).device, std::nullopt);
  EXPECT_THAT(choose("auto", without).reason,
              AllOf(HasSubstr("on the processor"), HasSubstr("without CUDA")));

  const CudaSurvey driverless{
      .built = true, .devices = {}, .why_none = "there is no NVIDIA driver", .free_bytes = {}};
  EXPECT_THAT(refusal("cuda", driverless), HasSubstr("there is no NVIDIA driver"));
  EXPECT_THAT(choose("auto", driverless).reason, HasSubstr("there is no NVIDIA driver"));
}

TEST(DeviceChoice, ASurveyFindsNothingThatItDoesNotExplain) {
  const CudaSurvey survey = survey_cuda();
  EXPECT_TRUE(!survey.built || !survey.devices.empty() || !survey.why_none.empty());
}

}  // namespace
}  // namespace condensed::kernels
