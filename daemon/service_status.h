#pragma once

#include <functional>
#include <string>
#include <utility>

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
  /// Stands after every line from now on, until another note (empty: none) replaces it.
  void set_note(std::string note) { note_ = std::move(note); }
  /// The line shown last, with the note as it is now.
  std::string text() const { return text_ + note_; }
  /// Shows nothing any more.
  void stop();

 private:
  const ServiceNotifier& notifier_;
  std::function<void()> ask_;
  boost::asio::steady_timer timer_;
  std::string text_ = "Serving";
  std::string note_;
  bool waiting_ = false;
  bool stopped_ = false;
};

}  // namespace condensed::daemon
