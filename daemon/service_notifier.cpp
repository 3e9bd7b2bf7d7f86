#include "daemon/service_notifier.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <stop_token>
#include <utility>

#include <systemd/sd-daemon.h>

namespace condensed::daemon {

namespace {

constexpr int kPeriodsOfPatience = 6;  // several renewals may be late

/// A value of a notification is one line.
std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' '; }, ' ');
  return line;
}

std::uint64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace

ServiceNotifier::ServiceNotifier() {
  if (const char* socket = std::getenv("NOTIFY_SOCKET"); socket != nullptr && *socket != '\0') {
    send_ = [](const std::string& state) { ::sd_notify(/*unset_environment=*/0, state.c_str()); };
  }
}

ServiceNotifier::ServiceNotifier(Send send) : send_(std::move(send)) {}

void ServiceNotifier::ready(std::string_view status) const {
  if (send_) {
    send_("READY=1\nSTATUS=" + one_line(status));
  }
}

void ServiceNotifier::status(std::string_view text) const {
  if (send_) {
    send_("STATUS=" + one_line(text));
  }
}

void ServiceNotifier::reloading() const {
  if (send_) {
    send_("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_us()));
  }
}

void ServiceNotifier::stopping(std::string_view status) const {
  if (send_) {
    send_("STOPPING=1\nSTATUS=" + one_line(status));
  }
}

void ServiceNotifier::alive() const {
  if (send_) {
    send_("WATCHDOG=1");
  }
}

void ServiceNotifier::extend_timeout(std::chrono::microseconds by) const {
  if (send_) {
    send_("EXTEND_TIMEOUT_USEC=" + std::to_string(by.count()));
  }
}

std::chrono::milliseconds ServiceNotifier::watchdog_interval() {
  std::uint64_t timeout_us = 0;
  if (::sd_watchdog_enabled(/*unset_environment=*/0, &timeout_us) <= 0) {
    return std::chrono::milliseconds(0);
  }
  return std::max(std::chrono::milliseconds(1), std::chrono::duration_cast<std::chrono::milliseconds>(
                                                    std::chrono::microseconds(timeout_us) / 2));
}

Patience::Patience(const ServiceNotifier& notifier, std::chrono::milliseconds period) {
  if (!notifier.enabled()) {
    return;
  }
  thread_ = std::jthread([&notifier, period](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any due;
    std::unique_lock lock(mutex);
    do {
      notifier.extend_timeout(kPeriodsOfPatience * period);
      due.wait_for(lock, stop, period, [] { return false; });
    } while (!stop.stop_requested());
  });
}

}  // namespace condensed::daemon
