#include "kernels/device_choice.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

#include "kernels/device_error.h"

namespace condensed::kernels {

namespace {

std::string describe(const CudaDevice& device, const std::string& memory) {
  char capability[60];
  std::snprintf(capability, sizeof(capability), ", compute capability %d.%d, ",
                device.compute_capability / 10, device.compute_capability % 10);
  return "cuda:" + std::to_string(device.index) + " (" + device.name + capability + memory + ")";
}

std::string gigabytes(std::size_t bytes) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.1f", static_cast<double>(bytes) / 1e9);
  return text;
}

DeviceChoice choose(CudaDevice device, const CudaSurvey& survey) {
  if (survey.free_bytes) {
    device.free_bytes = survey.free_bytes(device.index);
  }
  std::string reason = "on " + describe(device, gigabytes(device.free_bytes) + " of " +
                                                    gigabytes(device.memory_bytes) + " GB free");
  return {.device = std::move(device), .reason = std::move(reason)};
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
  survey.free_bytes = cuda_free_bytes;
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
    const auto largest = std::ranges::max_element(survey.devices, {}, &CudaDevice::memory_bytes);
    try {
      return choose(*largest, survey);
    } catch (const DeviceError& error) {
      if (!setting.may_fall_back) {
        throw;
      }
      return {.device = std::nullopt, .reason = std::string("on the processor: ") + error.what()};
    }
  }
  const auto found = std::ranges::find(survey.devices, *setting.index, &CudaDevice::index);
  if (found == survey.devices.end()) {
    std::string known;
    for (const CudaDevice& device : survey.devices) {
      known += (known.empty() ? "" : ", ") + describe(device, gigabytes(device.memory_bytes) + " GB");
    }
    throw DeviceError("device cuda:" + std::to_string(*setting.index) +
                      ": there is none of that number, only " + known);
  }
  return choose(*found, survey);
}

}  // namespace condensed::kernels
