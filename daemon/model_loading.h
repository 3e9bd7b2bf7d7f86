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

  /// For the caches of sessions: nine tenths of what weights and workspace leave of the device's free memory,
  /// or one session where that is more. 0 on the processor.
  std::size_t cache_bytes() const;
};

/// Chooses a device that has room for the model and one session. Throws kernels::DeviceError, with the
/// arithmetic, when the one that is asked for has not; `auto` then takes the processor.
Placement place_model(const std::string& device, const kernels::CudaSurvey& survey,
                      const engine::MemoryPlan& plan);

/// What a model takes as the settings want it, without loading it. Throws InputError.
engine::MemoryPlan plan_memory(const Settings& settings);

/// A backend at that place. Throws kernels::DeviceError.
std::unique_ptr<kernels::Backend> make_backend(const Settings& settings, const Placement& placement);

/// Moves the placement to the processor, where it is not there and the settings let it; `why` the device is
/// not taken. False: it stays.
bool fall_back(const Settings& settings, Placement& placement, const std::string& why);

/// Chooses a place and loads the model there; `placement` is where. When the device fails under that, and the
/// settings let it: on the processor. Says both in the log. Throws InputError and kernels::DeviceError.
std::shared_ptr<engine::Model> load_model(const Settings& settings, Placement& placement);

}  // namespace condensed::daemon
