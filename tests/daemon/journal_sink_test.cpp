#include "daemon/journal_sink.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "daemon/log_fields.h"

namespace condensed::daemon {
namespace {

using Entries = std::vector<std::vector<std::string>>;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::Pair;
using testing::StartsWith;

/// What the journal would get from `log`.
template <typename Log>
Entries entries_of(Log log) {
  Entries entries;
  spdlog::logger logger("test",
                        std::make_shared<JournalSink>([&entries](const std::vector<std::string>& entry) {
                          entries.push_back(entry);
                          return 0;
                        }));
  logger.set_level(spdlog::level::debug);
  log(logger);
  return entries;
}

TEST(JournalSink, SendsMessagePriorityAndFields) {
  const Entries entries = entries_of([](spdlog::logger& log) {
    log.warn("cut off, {} bytes are unread session=a.b-c user=1000 code=line_too_long connection=3", 77);
  });
  EXPECT_THAT(entries, ElementsAre(ElementsAre("MESSAGE=cut off, 77 bytes are unread", "PRIORITY=4",
                                               "SYSLOG_IDENTIFIER=condensed", "CONDENSED_SESSION=a.b-c",
                                               "CONDENSED_USER=1000", "CONDENSED_CODE=line_too_long",
                                               "CONDENSED_CONNECTION=3")));
}

TEST(JournalSink, HasAPriorityForEveryLevel) {
  const Entries entries = entries_of([](spdlog::logger& log) {
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
    log.critical("c");
  });
  ASSERT_EQ(entries.size(), 5U);
  const char* expected[] = {"PRIORITY=7", "PRIORITY=6", "PRIORITY=4", "PRIORITY=3", "PRIORITY=2"};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    EXPECT_THAT(entries[i], Contains(expected[i]));
  }
}

TEST(JournalSink, LeavesALineWithoutFieldsAsItIs) {
  const Entries entries = entries_of([](spdlog::logger& log) { log.info("window = 5 from now on"); });
  EXPECT_THAT(entries, ElementsAre(AllOf(Contains("MESSAGE=window = 5 from now on"),
                                         Not(Contains(StartsWith("CONDENSED_"))))));
}

TEST(JournalSink, FallsBackToStandardError) {
  spdlog::logger logger(
      "test", std::make_shared<JournalSink>([](const std::vector<std::string>&) { return -ECONNREFUSED; }));
  testing::internal::CaptureStderr();
  logger.info("lost connection=3");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "lost connection=3\n");
}

TEST(JournalSink, IsForTheStreamThatWasAnnounced) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  struct stat status {};
  ASSERT_EQ(::fstat(pipe[1], &status), 0);
  const std::string id = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_FALSE(JournalSink::leads_to_journal(pipe[1]));
  ::setenv("JOURNAL_STREAM", id.c_str(), 1);
  EXPECT_TRUE(JournalSink::leads_to_journal(pipe[1]));
  EXPECT_FALSE(JournalSink::leads_to_journal(STDOUT_FILENO));
  ::setenv("JOURNAL_STREAM", (id + "0").c_str(), 1);
  EXPECT_FALSE(JournalSink::leads_to_journal(pipe[1]));
  ::unsetenv("JOURNAL_STREAM");
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(LogFields, AreTakenOffTheEndOnly) {
  const LogLine line = split_fields("a user=1 told session=x that connection=3 code=internal");
  EXPECT_EQ(line.text, "a user=1 told session=x that");
  EXPECT_THAT(line.fields, ElementsAre(Pair("connection", "3"), Pair("code", "internal")));
}

TEST(LogFields, AreKnownKeysWithPlainValuesOnce) {
  EXPECT_TRUE(split_fields("socket=/tmp/x").fields.empty());
  EXPECT_TRUE(split_fields("text window=5").fields.empty());
  EXPECT_TRUE(split_fields("text user=").fields.empty());
  EXPECT_TRUE(split_fields("text user=a/b").fields.empty());
  EXPECT_TRUE(split_fields("").fields.empty());
  const LogLine twice = split_fields("text user=1 user=2");
  EXPECT_EQ(twice.text, "text user=1");
  EXPECT_THAT(twice.fields, ElementsAre(Pair("user", "2")));
}

TEST(LogFields, CannotBeForgedByTextInQuotes) {
  const std::string line = "failed: " + in_quotes("x\n<0>forged user=0 code=ok") + " connection=3";
  const LogLine split = split_fields(line);
  EXPECT_THAT(split.fields, ElementsAre(Pair("connection", "3")));
  EXPECT_EQ(split.text, R"(failed: "x\n<0>forged user=0 code=ok")");
}

}  // namespace
}  // namespace condensed::daemon
