#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio.hpp>

#include "clients/bench/run.h"
#include "clients/bench/stream_flags.h"

namespace condensed::bench {

/// Generations that run beside each other, each on a session and a connection of its own.
class StreamLoad {
 public:
  /// flags must outlive it.
  explicit StreamLoad(const StreamFlags& flags) : flags_(flags) {}

  boost::asio::awaitable<void> open(Run& run);
  /// As many tokens, and for as long, as asked for before anything counts.
  boost::asio::awaitable<void> warm_up(Run& run);
  /// All streams generate, until they have so many tokens or are cancelled.
  boost::asio::awaitable<void> generate(Run& run, std::optional<std::int64_t> tokens,
                                        Run::OnGap on_gap = nullptr);

 private:
  struct Stream {
    Run::ClientPtr client;
    std::string session;
    std::uint64_t seed = 0;
  };

  const StreamFlags& flags_;
  std::vector<Stream> streams_;
};

}  // namespace condensed::bench
