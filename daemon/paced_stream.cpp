#include "daemon/paced_stream.h"

#include <utility>

#include "daemon/events.h"

namespace condensed::daemon {

PacedStream::PacedStream(engine::SessionId session, std::size_t limit_bytes, Deliver deliver,
                         std::function<void()> wake)
    : session_(std::move(session)),
      limit_bytes_(limit_bytes),
      deliver_(std::move(deliver)),
      wake_(std::move(wake)) {}

void PacedStream::on_token(const engine::GeneratedToken& token) {
  send({token_event(session_.name, token), token.position}, false);
}

void PacedStream::on_done(const engine::GenerationSummary& summary) {
  send({done_event(session_.name, summary), summary.position}, true);
}

void PacedStream::send(StreamEvent event, bool done) {
  // `full_` is raised before the bytes are counted: were it after, the socket thread could write them all in
  // between and lower it for the last time before it is raised.
  const std::size_t bytes = event.line.size();
  if (unwritten_bytes_.load() + bytes > limit_bytes_) {
    full_ = true;
  }
  unwritten_bytes_ += bytes;
  deliver_(shared_from_this(), std::move(event), done);
}

void PacedStream::written(std::size_t bytes) {
  const std::size_t left = unwritten_bytes_.fetch_sub(bytes) - bytes;
  if (left <= limit_bytes_ / 2 && full_.exchange(false)) {
    wake_();
  }
}

void PacedStream::hold(bool held) {
  if (held_.exchange(held) && !held) {
    wake_();
  }
}

}  // namespace condensed::daemon
