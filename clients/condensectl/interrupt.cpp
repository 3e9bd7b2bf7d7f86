#include "clients/condensectl/interrupt.h"

#include <csignal>
#include <cstdlib>
#include <utility>

namespace condensed::ctl {

Interrupt::Interrupt(client::Client& client) : signals_(client.io(), SIGINT, SIGTERM) {
  wait();
}

void Interrupt::wait() {
  signals_.async_wait([this](const boost::system::error_code& error, int) {
    if (error) {
      return;
    }
    if (std::exchange(happened_, true)) {
      std::_Exit(kInterruptedExit);
    }
    wait();
    if (!action_) {
      throw Interrupted();
    }
    action_();
  });
}

Interrupt::Instead::Instead(Interrupt& interrupt, std::function<void()> action) : interrupt_(interrupt) {
  interrupt_.happened_ = false;
  interrupt_.action_ = std::move(action);
}

Interrupt::Instead::~Instead() {
  interrupt_.action_ = nullptr;
}

}  // namespace condensed::ctl
