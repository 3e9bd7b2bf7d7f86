#include "clients/bench/progress.h"

#include <cstdio>
#include <unistd.h>

namespace condensed::bench {

namespace asio = boost::asio;

Progress::Progress(Run& run) : run_(run), shown_(::isatty(STDERR_FILENO) == 1) {}

asio::awaitable<void> Progress::show_until_the_end() {
  for (Clock::time_point next = Clock::now();
       shown_ && co_await run_.sleep_until(next += std::chrono::seconds(1));) {
    show();
  }
}

void Progress::erase() const {
  if (shown_) {
    std::fputs("\r\x1b[K", stderr);
  }
}

void Progress::show() const {
  const Recorder& recorder = run_.recorder();
  if (!recorder.began()) {
    std::fputs("\r\x1b[Kwarming up", stderr);
    return;
  }
  const double elapsed_s = std::chrono::duration<double>(recorder.duration(Clock::now())).count();
  const auto tokens = static_cast<double>(recorder.counts().output_tokens);
  const LatencyHistogram& itl = recorder.figure(Figure::itl).histogram;
  std::fprintf(stderr, "\r\x1b[K%.0f s  %.0f tokens  %.0f/s  itl p50 %.3f p99 %.3f max %.1f ms  %lld stalls",
               elapsed_s, tokens, elapsed_s > 0 ? tokens / elapsed_s : 0,
               static_cast<double>(itl.value_at_quantile(0.5)) / 1e6,
               static_cast<double>(itl.value_at_quantile(0.99)) / 1e6, static_cast<double>(itl.max()) / 1e6,
               static_cast<long long>(recorder.stalls().count()));
}

}  // namespace condensed::bench
