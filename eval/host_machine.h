#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace condensed::eval {

/// Memory that this process could still take without pushing others out.
std::int64_t available_memory_bytes();
/// Memory that this process takes.
std::int64_t resident_memory_bytes();
/// Processes that ran or waited to run over the last minute, if the system says.
std::optional<double> load_of_last_minute();

struct HostMachine {
  std::string processor;
  unsigned processors = 0;
  std::int64_t memory_bytes = 0;
};
HostMachine describe_machine();

}  // namespace condensed::eval
