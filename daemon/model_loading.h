#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "daemon/settings.h"
#include "engine/memory_plan.h"
#include "engine/model.h"
#include "kernels/device_choice.h"

namespace condensed::daemon {

/// Where the model will be, and what it takes there.
struct Placement {
  std::optional<kernels::CudaDevice> device;  // absent: the processor
  std::string reason;                         // one line for the log
  engine::MemoryPlan plan;

  /// For the caches of sessions: nine tenths of what weights and workspace leave of the device's free memory.
  /// 0 on the processor.
  std::size_t cache_bytes() const;
};

/// Chooses a device that has room for the model and one session. Throws kernels::DeviceError, with the
/// arithmetic, when the one that is asked for has not; `auto` then takes the processor.
Placement place_model(const std::string& device, const kernels::CudaSurvey& survey,
                      const engine::MemoryPlan& plan);

/// What a model takes as the settings want it, without loading it. Throws InputError.
engine::MemoryPlan plan_memory(const Settings& settings);

/// A backend where the settings want one. Where they leave it open and the device cannot be had: on the
/// processor, and `reason` says so. Throws kernels::DeviceError.
std::unique_ptr<kernels::Backend> make_backend(const Settings& settings, Placement& placement);

/// Chooses a place and loads the model there; `placement` is where. Says both in the log. Throws InputError
/// and kernels::DeviceError.
std::shared_ptr<engine::Model> load_model(const Settings& settings, Placement& placement);

}  // namespace condensed::daemon
