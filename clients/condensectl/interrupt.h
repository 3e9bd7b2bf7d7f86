#pragma once

#include <functional>

#include "clients/cpp/client.h"

namespace condensed::ctl {

constexpr int kInterruptedExit = 130;

/// Thrown out of whatever waits when a signal came that nobody else takes.
class Interrupted {};

/// SIGINT and SIGTERM, for as long as this lives. The first one runs the action set, on the thread that waits
/// in the client; another one ends the process at once.
class Interrupt {
 public:
  explicit Interrupt(client::Client& client);

  /// While this lives, the next signal runs `action` instead of throwing Interrupted, however many came
  /// before.
  class Instead {
   public:
    Instead(Interrupt& interrupt, std::function<void()> action);
    ~Instead();
    Instead(const Instead&) = delete;
    Instead& operator=(const Instead&) = delete;
    bool happened() const { return interrupt_.happened_; }

   private:
    Interrupt& interrupt_;
  };

 private:
  void wait();

  boost::asio::signal_set signals_;
  std::function<void()> action_;
  bool happened_ = false;
};

}  // namespace condensed::ctl
