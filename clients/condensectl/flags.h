#pragma once

#include "clients/condensectl/commands.h"

namespace CLI {
class App;
}

namespace condensed::ctl {

/// Flags that say how tokens are drawn and what is told about them.
void add_sampling_flags(CLI::App& command, GenerateFlags& flags);

}  // namespace condensed::ctl
