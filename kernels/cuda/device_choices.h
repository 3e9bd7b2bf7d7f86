#pragma once

#include <span>
#include <vector>

#include "kernels/cuda/device_queue.h"
#include "kernels/token_choice.h"

namespace condensed::kernels::cuda {

/// Backend::choose_tokens on the device.
class DeviceChoices {
 public:
  explicit DeviceChoices(DeviceQueue& queue) : queue_(queue) {}

  void choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                     std::span<std::int32_t> tokens);

 private:
  void collect(std::span<const TokenChoice> choices);

  DeviceQueue& queue_;
  std::vector<ChoiceRow> rows_;
  std::vector<LogitAdjustment> adjustments_;  // of all rows
};

}  // namespace condensed::kernels::cuda
