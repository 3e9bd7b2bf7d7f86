#include "daemon/process_metrics.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <system_error>
#include <unistd.h>

#include <sys/resource.h>

namespace condensed::daemon {

namespace {

struct Memory {
  std::int64_t virtual_bytes = 0;
  std::int64_t resident_bytes = 0;
};

Memory memory() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t virtual_pages = 0;
  std::int64_t resident_pages = 0;
  statm >> virtual_pages >> resident_pages;
  const std::int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  return {.virtual_bytes = virtual_pages * page_bytes, .resident_bytes = resident_pages * page_bytes};
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double open_descriptors() {
  double n = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++n;
  }
  return n > 0 ? n - 1 : 0;  // the one that reads the folder is not counted
}

double max_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

/// Since the epoch.
double boot_seconds() {
  std::ifstream stat("/proc/stat");
  for (std::string word; stat >> word;) {
    if (word == "btime") {
      double seconds = 0;
      stat >> seconds;
      return seconds;
    }
    stat.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

/// Since the epoch.
double start_seconds() {
  std::ifstream stat("/proc/self/stat");
  // Field 2 is the program's name in parentheses and may hold anything; field 22 is the start, in ticks since
  // boot.
  std::string line;
  std::getline(stat, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string field;
  for (int number = 3; number < 22; ++number) {
    fields >> field;
  }
  double ticks = 0;
  fields >> ticks;
  return boot_seconds() + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

prometheus::MetricFamily gauge(std::string name, std::string help, double value) {
  prometheus::ClientMetric metric;
  metric.gauge.value = value;
  return {std::move(name), std::move(help), prometheus::MetricType::Gauge, {std::move(metric)}};
}

prometheus::MetricFamily counter(std::string name, std::string help, double value) {
  prometheus::ClientMetric metric;
  metric.counter.value = value;
  return {std::move(name), std::move(help), prometheus::MetricType::Counter, {std::move(metric)}};
}

}  // namespace

std::int64_t resident_bytes() {
  return memory().resident_bytes;
}

std::vector<prometheus::MetricFamily> process_metrics() {
  static const double started = start_seconds();
  const Memory now = memory();
  return {
      counter("process_cpu_seconds_total", "User and system CPU time, in seconds.", cpu_seconds()),
      gauge("process_resident_memory_bytes", "Resident memory.", static_cast<double>(now.resident_bytes)),
      gauge("process_virtual_memory_bytes", "Virtual memory.", static_cast<double>(now.virtual_bytes)),
      gauge("process_open_fds", "Open file descriptors.", open_descriptors()),
      gauge("process_max_fds", "Most file descriptors that may be open.", max_descriptors()),
      gauge("process_start_time_seconds", "When the process started, in seconds since the epoch.", started),
  };
}

}  // namespace condensed::daemon
