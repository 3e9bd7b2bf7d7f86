// Commands about the daemon's metrics: metrics, top.

#include <chrono>
#include <string>
#include <unistd.h>

#include <sys/ioctl.h>

#include "clients/condensectl/commands.h"
#include "clients/condensectl/top_frame.h"

namespace condensed::ctl {

namespace json = boost::json;
namespace asio = boost::asio;

namespace {

std::string metrics_text(client::Client& client) {
  const json::object metrics = client.call({{"op", "metrics"}});
  return std::string(metrics.at("text").as_string());
}

Snapshot take_snapshot(client::Client& client) {
  Snapshot snapshot;
  snapshot.stat = client.call({{"op", "stat"}});
  snapshot.metrics = Exposition(metrics_text(client));
  const json::object list = client.call({{"op", "list"}});
  snapshot.sessions = list.at("sessions").as_array();
  return snapshot;
}

void wait(client::Client& client, double seconds) {
  asio::steady_timer timer(client.io(), std::chrono::duration_cast<asio::steady_timer::duration>(
                                            std::chrono::duration<double>(seconds)));
  bool expired = false;
  timer.async_wait([&expired](const boost::system::error_code&) { expired = true; });
  while (!expired) {
    client.io().restart();
    client.io().run_one();
  }
}

/// The terminal's other screen, for as long as this lives; what was there before comes back.
class Screen {
 public:
  explicit Screen(Terminal& terminal) : terminal_(terminal) {
    terminal_.show("\x1b[?1049h\x1b[?25l");  // the other screen, no cursor
  }
  ~Screen() {
    try {
      terminal_.show("\x1b[?25h\x1b[?1049l");
    } catch (const std::exception&) {
      // The terminal is gone, and whatever it showed with it.
    }
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  static FrameSize size() {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
      return {.rows = 24, .columns = 80};
    }
    return {.rows = size.ws_row, .columns = size.ws_col};
  }

  /// In place of what is there, line by line, so that nothing flickers.
  void draw(const std::string& frame) {
    std::string out = "\x1b[H";
    for (std::size_t begin = 0; begin < frame.size();) {
      const std::size_t end = frame.find('\n', begin);
      // A line break after the last row would scroll.
      out += (begin == 0 ? "" : "\r\n") + frame.substr(begin, end - begin) + "\x1b[K";
      begin = end + 1;
    }
    terminal_.show(out + "\x1b[J");
  }

 private:
  Terminal& terminal_;
};

int show_live(Context& context, double interval_s) {
  Snapshot before;
  Snapshot now = take_snapshot(context.client);
  Screen screen(context.terminal);
  try {
    while (!context.terminal.output_closed()) {
      screen.draw(top_frame(before, now, Screen::size()));
      wait(context.client, interval_s);
      before = std::move(now);
      now = take_snapshot(context.client);
    }
  } catch (const Interrupted&) {
    // The way to leave.
  }
  return 0;
}

}  // namespace

int run_metrics(Context& context) {
  context.terminal.show(metrics_text(context.client));
  return 0;
}

int run_top(Context& context, const TopFlags& flags) {
  if (!flags.once && context.terminal.output_is_terminal() && !context.terminal.json()) {
    return show_live(context, flags.interval_s);
  }
  const Snapshot before = take_snapshot(context.client);
  wait(context.client, flags.interval_s);
  context.terminal.show(top_frame(before, take_snapshot(context.client), {}));
  return 0;
}

}  // namespace condensed::ctl
