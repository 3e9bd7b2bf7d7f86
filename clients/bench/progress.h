#pragma once

#include <boost/asio.hpp>

#include "clients/bench/run.h"

namespace condensed::bench {

/// A line on the terminal that is always the same one; nothing where standard error is none.
class Progress {
 public:
  explicit Progress(Run& run);

  boost::asio::awaitable<void> show_until_the_end();
  void erase() const;

 private:
  void show() const;

  Run& run_;
  bool shown_;
};

}  // namespace condensed::bench
