#include "eval/host_machine.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <unistd.h>

namespace condensed::eval {

namespace {

/// A line "key: value" of a file in /proc; empty if there is none.
std::string proc_line(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (line.starts_with(key) && colon != std::string::npos) {
      return line.substr(std::min(line.size(), line.find_first_not_of(" \t", colon + 1)));
    }
  }
  return "";
}

std::int64_t meminfo_bytes(std::string_view key) {
  constexpr std::int64_t kUnit = 1024;
  return std::atoll(proc_line("/proc/meminfo", key).c_str()) * kUnit;
}

}  // namespace

std::int64_t available_memory_bytes() {
  return meminfo_bytes("MemAvailable");
}

std::int64_t resident_memory_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t virtual_pages = 0;
  std::int64_t resident_pages = 0;
  statm >> virtual_pages >> resident_pages;
  return resident_pages * ::sysconf(_SC_PAGESIZE);
}

std::optional<double> load_of_last_minute() {
  double load = 0;
  return ::getloadavg(&load, 1) == 1 ? std::optional(load) : std::nullopt;
}

HostMachine describe_machine() {
  return {.processor = proc_line("/proc/cpuinfo", "model name"),
          .processors = std::thread::hardware_concurrency(),
          .memory_bytes = meminfo_bytes("MemTotal")};
}

}  // namespace condensed::eval
