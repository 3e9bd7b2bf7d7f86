#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/model.h"
#include "kernels/device_choice.h"

namespace condensed::eval {

/// Makes a model with a backend of a kind that kernels::make_backend() knows.
using MakeModel = std::function<std::shared_ptr<engine::Model>(const std::string& backend_kind)>;

/// A model on the device that is asked for (kernels::parse_device()), or made with the processor's kernels of
/// that kind: where there is no device, or it has no room, and `auto` lets it; and where `auto` is asked for
/// together with certain kernels. Says on stderr when a device is left. Throws kernels::DeviceError and what
/// `make` does.
std::shared_ptr<engine::Model> make_model_on(const std::string& device, const std::string& kernels,
                                             const kernels::CudaSurvey& survey, const MakeModel& make);

}  // namespace condensed::eval
