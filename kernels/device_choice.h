#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/cuda_devices.h"

namespace condensed::kernels {

/// What `device` may be set to: "cpu", "cuda", "cuda:N" or "auto".
struct DeviceSetting {
  bool cuda = false;           // cuda, or auto
  bool may_fall_back = false;  // auto
  std::optional<int> index;    // cuda:N
};
/// Nothing for any other text.
std::optional<DeviceSetting> parse_device(std::string_view text);

/// What there is to choose from.
struct CudaSurvey {
  bool built = false;  // with CUDA
  std::vector<CudaDevice> devices;
  std::string why_none;
  /// Asked of the device that is chosen, and of no other (cuda_free_bytes()). None: devices know it.
  std::function<std::size_t(int index)> free_bytes;
};
CudaSurvey survey_cuda();

/// Where the model will be computed, and why there.
struct DeviceChoice {
  std::optional<CudaDevice> device;  // absent: on the processor
  std::string reason;                // one line for the log

  /// What make_backend() takes: "cuda:N", or `processor_kind` for the processor.
  std::string backend_kind(std::string_view processor_kind) const;
};

/// Without a number: the device with the most memory. Throws DeviceError, saying why and what can be done,
/// when the device that is asked for cannot be used.
DeviceChoice choose_device(const DeviceSetting& setting, const CudaSurvey& survey);

}  // namespace condensed::kernels
