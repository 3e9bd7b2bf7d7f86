#pragma once

#include <cstdint>
#include <string>

#include <boost/json.hpp>

namespace condensed::eval {

/// Memory that this process could still take without pushing others out.
std::int64_t available_memory_bytes();
/// Memory that this process takes.
std::int64_t resident_memory_bytes();
/// Processes that ran or waited to run over the last minute; null if the system does not say.
boost::json::value load_of_last_minute();
/// processor, processors, memory_bytes, available_memory_bytes, load_of_last_minute.
boost::json::object describe_machine();

}  // namespace condensed::eval
