#include "engine/resource_use.h"

#include <sys/resource.h>

namespace condensed::engine {

namespace {

std::chrono::nanoseconds duration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

ResourceUse::Counts counts_of(int who) {
  rusage use{};
  ::getrusage(who, &use);  // fails for a bad argument only
  return {.cpu = duration(use.ru_utime) + duration(use.ru_stime),
          .page_faults_minor = use.ru_minflt,
          .page_faults_major = use.ru_majflt,
          .preemptions = use.ru_nivcsw};
}

}  // namespace

ResourceUse::Counts ResourceUse::Counts::since(const Counts& earlier) const {
  return {.cpu = cpu - earlier.cpu,
          .page_faults_minor = page_faults_minor - earlier.page_faults_minor,
          .page_faults_major = page_faults_major - earlier.page_faults_major,
          .preemptions = preemptions - earlier.preemptions};
}

ResourceUse ResourceUse::since(const ResourceUse& earlier) const {
  return {.process = process.since(earlier.process), .thread = thread.since(earlier.thread)};
}

ResourceUse resource_use() {
  return {.process = counts_of(RUSAGE_SELF), .thread = counts_of(RUSAGE_THREAD)};
}

}  // namespace condensed::engine
