#define SD_JOURNAL_SUPPRESS_LOCATION  // not this file's

#include "daemon/journal_sink.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <unistd.h>
#include <utility>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/syslog.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "daemon/log_fields.h"

namespace condensed::daemon {

namespace {

constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
      return LOG_CRIT;
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::info:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

std::string field_name(std::string_view key) {
  std::string name = "CONDENSED_" + std::string(key);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

int send_to_journal(const std::vector<std::string>& entry) {
  std::vector<iovec> parts;
  parts.reserve(entry.size());
  for (const std::string& field : entry) {
    // The journal only reads, but iovec serves both ways.
    parts.push_back({.iov_base = const_cast<char*>(field.data()), .iov_len = field.size()});
  }
  return ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

}  // namespace

JournalSink::JournalSink() : JournalSink(send_to_journal) {}

JournalSink::JournalSink(Send send) : send_(std::move(send)) {}

bool JournalSink::leads_to_journal(int descriptor) {
  const char* announced = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (announced == nullptr || ::fstat(descriptor, &status) != 0) {
    return false;
  }
  return announced == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

void JournalSink::sink_it_(const spdlog::details::log_msg& message) {
  const LogLine line = split_fields({message.payload.data(), message.payload.size()});
  std::vector<std::string> entry{"MESSAGE=" + std::string(line.text),
                                 "PRIORITY=" + std::to_string(priority_of(message.level)),
                                 "SYSLOG_IDENTIFIER=condensed"};
  for (const auto& [key, value] : line.fields) {
    entry.push_back(field_name(key) + "=" + std::string(value));
  }
  if (send_(entry) < 0) {
    // Standard error leads to the journal, too, by another way.
    std::fprintf(stderr, "%.*s\n", static_cast<int>(message.payload.size()), message.payload.data());
  }
}

void start_logging() {
  // Without its socket, sending succeeds and nothing arrives.
  if (JournalSink::leads_to_journal(STDERR_FILENO) && ::access(kJournalSocket, W_OK) == 0) {
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("condensed", std::make_shared<JournalSink>()));
    return;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("condensed"));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
}

}  // namespace condensed::daemon
