#include "kernels/device_choice.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "kernels/device_error.h"

namespace condensed::kernels {

namespace {

std::string describe(const CudaDevice& device) {
  char text[120];
  std::snprintf(text, sizeof(text), ", compute capability %d.%d, %.1f of %.1f GB free",
                device.compute_capability / 10, device.compute_capability % 10,
                static_cast<double>(device.free_bytes) / 1e9, static_cast<double>(device.memory_bytes) / 1e9);
  return "cuda:" + std::to_string(device.index) + " (" + device.name + text + ")";
}

std::string why_no_cuda(const CudaSurvey& survey) {
  if (!survey.built) {
    return "this build is without CUDA; build where nvcc is found";
  }
  return survey.why_none.empty() ? "there is no CUDA device" : survey.why_none;
}

}  // namespace

std::optional<DeviceSetting> parse_device(std::string_view text) {
  constexpr std::string_view kIndexed = "cuda:";
  if (text == "cpu") {
    return DeviceSetting{};
  }
  if (text == "auto") {
    return DeviceSetting{.cuda = true, .may_fall_back = true};
  }
  if (text == "cuda") {
    return DeviceSetting{.cuda = true};
  }
  if (!text.starts_with(kIndexed)) {
    return std::nullopt;
  }
  const std::string_view number = text.substr(kIndexed.size());
  int index = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
  if (error != std::errc() || end != number.data() + number.size() || index < 0) {
    return std::nullopt;
  }
  return DeviceSetting{.cuda = true, .index = index};
}

CudaSurvey survey_cuda() {
  CudaSurvey survey;
#ifdef CONDENSED_CUDA
  survey.built = true;
  survey.devices = cuda_devices(survey.why_none);
#endif
  return survey;
}

std::string DeviceChoice::backend_kind(std::string_view processor_kind) const {
  return device ? "cuda:" + std::to_string(device->index) : std::string(processor_kind);
}

DeviceChoice choose_device(const DeviceSetting& setting, const CudaSurvey& survey) {
  if (!setting.cuda) {
    return {.device = std::nullopt, .reason = "on the processor, as device says"};
  }
  if (survey.devices.empty()) {
    if (!setting.may_fall_back) {
      throw DeviceError("device cuda cannot be used: " + why_no_cuda(survey) +
                        "; device = \"cpu\" runs without");
    }
    return {.device = std::nullopt, .reason = "on the processor: " + why_no_cuda(survey)};
  }
  if (!setting.index) {
    // The one with the most room: others may be at work on the rest.
    const auto roomiest = std::ranges::max_element(survey.devices, {}, &CudaDevice::free_bytes);
    return {.device = *roomiest, .reason = "on " + describe(*roomiest)};
  }
  const auto found = std::ranges::find(survey.devices, *setting.index, &CudaDevice::index);
  if (found == survey.devices.end()) {
    std::string known;
    for (const CudaDevice& device : survey.devices) {
      known += (known.empty() ? "" : ", ") + describe(device);
    }
    throw DeviceError("device cuda:" + std::to_string(*setting.index) +
                      ": there is none of that number, only " + known);
  }
  return {.device = *found, .reason = "on " + describe(*found)};
}

}  // namespace condensed::kernels
