#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "clients/cpp/client.h"

namespace condensed::ctl {

/// Standard input. Signals are handled while it waits: Interrupted may come out of every read.
class Input {
 public:
  explicit Input(client::Client& client) : client_(client) {}

  /// Whether somebody types it.
  static bool is_terminal();

  /// The next line, without its end; nothing at the end of the input.
  std::optional<std::string> line();

  /// Reads until `text` holds `size` bytes or the input ends. Returns whether more may come.
  bool fill(std::string& text, std::size_t size);

 private:
  bool read_more();

  client::Client& client_;
  std::string read_;  // not yet given out
};

}  // namespace condensed::ctl
