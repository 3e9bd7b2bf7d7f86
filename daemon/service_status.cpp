#include "daemon/service_status.h"

#include <chrono>
#include <utility>

namespace condensed::daemon {

namespace {
constexpr std::chrono::seconds kDelay{1};  // many changes become one line
}

ServiceStatus::ServiceStatus(boost::asio::io_context& io, const ServiceNotifier& notifier,
                             std::function<void()> ask)
    : notifier_(notifier), ask_(std::move(ask)), timer_(io) {}

void ServiceStatus::touch() {
  if (!notifier_.enabled() || stopped_ || std::exchange(waiting_, true)) {
    return;
  }
  timer_.expires_after(kDelay);
  timer_.async_wait([this](const boost::system::error_code& error) {
    waiting_ = false;
    if (!error && !stopped_) {
      ask_();
    }
  });
}

void ServiceStatus::show(std::string text) {
  if (!stopped_ && text != text_) {
    text_ = std::move(text);
    notifier_.status(this->text());
  }
}

void ServiceStatus::stop() {
  stopped_ = true;
  timer_.cancel();
}

}  // namespace condensed::daemon
