#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "daemon/replay_rings.h"
#include "engine/engine.h"

namespace condensed::daemon {

/// The way of one generation's tokens from the engine's thread to the socket thread. The generation rests
/// while the connection that paces it holds it (its output is congested), and while more bytes than a limit
/// are under way that the socket thread has not seen written yet. So what a slow reader leaves unread is
/// bounded, wherever it waits.
class PacedStream final : public engine::GenerationListener,
                          public std::enable_shared_from_this<PacedStream> {
 public:
  /// Called on the engine's thread with a formatted event; hands it to the socket thread.
  using Deliver = std::function<void(std::shared_ptr<PacedStream> stream, StreamEvent event, bool done)>;

  /// wake: makes the engine look again at accepts_token(); callable from the socket thread.
  PacedStream(engine::SessionId session, std::size_t limit_bytes, Deliver deliver,
              std::function<void()> wake);

  const engine::SessionId& session() const { return session_; }

  bool accepts_token() const override {
    return !held_.load(std::memory_order_relaxed) && !full_.load(std::memory_order_relaxed);
  }
  void on_token(const engine::GeneratedToken& token) override;
  void on_done(const engine::GenerationSummary& summary) override;

  // The rest is for the socket thread.

  /// The pacing connection has written these bytes of events, or nobody will.
  void written(std::size_t bytes);
  /// The pacing connection has too much unsent, or no longer.
  void hold(bool held);

 private:
  void send(StreamEvent event, bool done);

  engine::SessionId session_;
  std::size_t limit_bytes_;
  Deliver deliver_;
  std::function<void()> wake_;
  std::atomic<std::size_t> unwritten_bytes_ = 0;
  std::atomic<bool> full_ = false;  // set above the limit, cleared below half of it
  std::atomic<bool> held_ = false;
};

}  // namespace condensed::daemon
