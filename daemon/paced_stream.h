#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "engine/engine.h"

namespace condensed::daemon {

/// The way of one generation's tokens from the engine's thread to the socket thread. Bytes that were
/// formatted but not yet written to the socket of the pacing connection are counted; while they exceed a
/// limit, the generation rests. So what a slow reader leaves unread is bounded, wherever it waits.
class PacedStream final : public engine::GenerationListener,
                          public std::enable_shared_from_this<PacedStream> {
 public:
  /// Called on the engine's thread with a formatted event; hands it to the socket thread.
  using Deliver = std::function<void(std::shared_ptr<PacedStream> stream, std::string event, bool done)>;

  /// wake: makes the engine look again at accepts_token(); callable from the socket thread.
  PacedStream(std::string session, std::size_t limit_bytes, Deliver deliver, std::function<void()> wake);

  const std::string& session() const { return session_; }

  bool accepts_token() const override {
    return unwritten_bytes_.load(std::memory_order_relaxed) <= limit_bytes_;
  }
  void on_token(const engine::GeneratedToken& token) override;
  void on_done(const engine::GenerationSummary& summary) override;

  /// The pacing connection has written these bytes, or nobody will. On the socket thread.
  void written(std::size_t bytes);

 private:
  std::string session_;
  std::size_t limit_bytes_;
  Deliver deliver_;
  std::function<void()> wake_;
  std::atomic<std::size_t> unwritten_bytes_ = 0;
};

}  // namespace condensed::daemon
