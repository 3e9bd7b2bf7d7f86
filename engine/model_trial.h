#pragma once

#include "engine/engine.h"
#include "engine/model.h"

namespace condensed::engine {

/// Does what an engine with these options will do with the model's backend: takes the memory of its steps and
/// sets that of caches aside, reads as many tokens as run at once, and computes one alone. Throws
/// kernels::DeviceError and std::bad_alloc where the backend cannot, while there is time to choose another.
void try_out(Model& model, const EngineOptions& options);

}  // namespace condensed::engine
