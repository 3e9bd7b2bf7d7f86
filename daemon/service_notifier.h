#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace condensed::daemon {

/// Tells the service manager what the daemon is doing (sd_notify(3)). Without one, nothing happens. May be
/// called from any thread.
class ServiceNotifier {
 public:
  /// Takes one notification: lines of NAME=value.
  using Send = std::function<void(const std::string& state)>;

  /// To the service manager that started this process, if any.
  ServiceNotifier();
  /// To `send`, whoever started it; it is called on the threads that notify.
  explicit ServiceNotifier(Send send);

  /// Whether anybody listens.
  bool enabled() const { return static_cast<bool>(send_); }

  void ready(std::string_view status) const;
  /// One line for people: `systemctl status` shows it.
  void status(std::string_view text) const;
  /// The configuration is being read again; ready() ends it.
  void reloading() const;
  void stopping(std::string_view status) const;
  /// The watchdog's sign of life.
  void alive() const;
  /// The start (or stop) in progress may take this much longer from now on.
  void extend_timeout(std::chrono::microseconds by) const;

  /// How often alive() is due: half of what the service manager waits. 0: it keeps no watchdog on this
  /// process.
  static std::chrono::milliseconds watchdog_interval();

 private:
  Send send_;  // empty: nobody listens
};

/// While it lives, the service manager's patience with a slow start or stop is renewed again and again, on a
/// thread of its own.
class Patience {
 public:
  explicit Patience(const ServiceNotifier& notifier,
                    std::chrono::milliseconds period = std::chrono::seconds(5));

 private:
  std::jthread thread_;  // none when nobody listens
};

}  // namespace condensed::daemon
