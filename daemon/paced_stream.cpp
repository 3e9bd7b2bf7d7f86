#include "daemon/paced_stream.h"

#include <utility>

#include "daemon/events.h"

namespace condensed::daemon {

PacedStream::PacedStream(std::string session, std::size_t limit_bytes, Deliver deliver,
                         std::function<void()> wake)
    : session_(std::move(session)),
      limit_bytes_(limit_bytes),
      deliver_(std::move(deliver)),
      wake_(std::move(wake)) {}

void PacedStream::on_token(const engine::GeneratedToken& token) {
  std::string event = token_event(session_, token);
  unwritten_bytes_.fetch_add(event.size(), std::memory_order_relaxed);
  deliver_(shared_from_this(), std::move(event), false);
}

void PacedStream::on_done(const engine::GenerationSummary& summary) {
  std::string event = done_event(session_, summary);
  unwritten_bytes_.fetch_add(event.size(), std::memory_order_relaxed);
  deliver_(shared_from_this(), std::move(event), true);
}

void PacedStream::written(std::size_t bytes) {
  const std::size_t before = unwritten_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  if (before > limit_bytes_ && before - bytes <= limit_bytes_) {
    wake_();
  }
}

}  // namespace condensed::daemon
