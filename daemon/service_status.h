#pragma once

#include <functional>
#include <string>

#include <boost/asio.hpp>

#include "daemon/service_notifier.h"

namespace condensed::daemon {

/// The line that `systemctl status` shows while the daemon serves: asked for a moment after something may
/// have changed, sent only when it has. Used on the socket thread only.
class ServiceStatus {
 public:
  /// ask: finds out what to show and calls show(), now or later.
  ServiceStatus(boost::asio::io_context& io, const ServiceNotifier& notifier, std::function<void()> ask);

  /// Something may have changed.
  void touch();
  void show(std::string text);
  /// The line shown last.
  const std::string& text() const { return text_; }
  /// Shows nothing any more.
  void stop();

 private:
  const ServiceNotifier& notifier_;
  std::function<void()> ask_;
  boost::asio::steady_timer timer_;
  std::string text_ = "Serving";
  bool waiting_ = false;
  bool stopped_ = false;
};

}  // namespace condensed::daemon
