#pragma once

#include <functional>
#include <string>

#include "clients/condensectl/commands.h"

namespace condensed::ctl {

/// While it lives, SIGINT and SIGTERM run `action` instead of ending the process; the second one ends it.
class Interrupt {
 public:
  Interrupt(client::Client& client, std::function<void()> action);
  bool happened() const { return happened_; }

 private:
  void wait();

  boost::asio::signal_set signals_;
  std::function<void()> action_;
  bool happened_ = false;
};

struct Generated {
  client::Client::Event done;
  bool interrupted = false;
};

/// Runs one generation and prints its text as it comes. A signal cancels it and leaves the session; so does
/// output that nobody reads (OutputClosed is thrown once the daemon has confirmed).
Generated print_generation(client::Client& client, Terminal& terminal, const std::string& session,
                           const GenerateFlags& flags);

}  // namespace condensed::ctl
