#pragma once

#include <cstddef>
#include <functional>
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

  /// For the caches of sessions: nine tenths of what all else leaves of the device's free memory, or one
  /// session where that is more. 0 on the processor.
  std::size_t cache_bytes() const;
};

/// Chooses a device that has room for the model and one session: of several the one with the most memory that
/// has it free. Throws kernels::DeviceError, with the arithmetic, when the one that is asked for, or any, has
/// not; `auto` then takes the processor.
Placement place_model(const std::string& device, kernels::CudaSurvey survey, const engine::MemoryPlan& plan);

/// For an engine whose model is at that place.
engine::EngineOptions engine_options(const Settings& settings, const Placement& placement);

/// What a model takes as the settings want it, without loading it. Throws InputError.
engine::MemoryPlan plan_memory(const Settings& settings);

/// A backend at that place. Throws kernels::DeviceError.
std::unique_ptr<kernels::Backend> make_backend(const Settings& settings, const Placement& placement);

/// Moves the placement to the processor, where it is not there and the settings let it; `why` the device is
/// not taken. False: it stays.
bool fall_back(const Settings& settings, Placement& placement, const std::string& why);

using MakeBackend = std::function<std::unique_ptr<kernels::Backend>(const Placement&)>;
/// Loads the model at that place and tries it out there. Where a device cannot do what an engine will ask of
/// it, and the settings let it: on the processor, which `placement` then is. Throws InputError,
/// kernels::DeviceError and std::bad_alloc.
std::shared_ptr<engine::Model> load_model_at(const Settings& settings, Placement& placement,
                                             const MakeBackend& make);

/// Chooses a place and loads the model there, or where it can be; `placement` is where. Says in the log what
/// was chosen. Throws the same.
std::shared_ptr<engine::Model> load_model(const Settings& settings, Placement& placement);

}  // namespace condensed::daemon
