#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <spdlog/sinks/base_sink.h>

namespace condensed::daemon {

/// Sends lines of the log to systemd's journal: MESSAGE, PRIORITY, and the fields at a line's end
/// (log_fields.h) as CONDENSED_SESSION, CONDENSED_USER, CONDENSED_CODE and CONDENSED_CONNECTION.
class JournalSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  /// Takes the fields NAME=value of one entry. 0, or a negative error number.
  using Send = std::function<int(const std::vector<std::string>& entry)>;

  /// To the journal.
  JournalSink();
  explicit JournalSink(Send send);

  /// Whether this descriptor of the process is a stream to the journal (JOURNAL_STREAM of systemd.exec(5)).
  static bool leads_to_journal(int descriptor);

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

 private:
  Send send_;
};

/// Makes the default logger: to the journal when standard error leads there, else to standard error.
void start_logging();

}  // namespace condensed::daemon
