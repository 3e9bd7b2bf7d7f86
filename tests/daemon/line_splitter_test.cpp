#include "daemon/line_splitter.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kTooLong = "<too long>";

/// What comes out when `bytes` arrive in pieces of `piece`.
std::vector<std::string> split(std::string_view bytes, std::size_t max_line_bytes, std::size_t piece) {
  LineSplitter splitter(max_line_bytes);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < bytes.size(); i += piece) {
    std::string_view part = bytes.substr(i, piece);
    while (true) {
      const LineSplitter::Found found = splitter.next(part);
      if (found == LineSplitter::Found::nothing) break;
      out.emplace_back(found == LineSplitter::Found::line ? splitter.line() : kTooLong);
    }
  }
  return out;
}

TEST(LineSplitter, CutsTheSameHoweverTheBytesArrive) {
  const std::string bytes = "one\ntwo\r\n\nmuch too long a line\nlast\nunfinished";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    EXPECT_THAT(split(bytes, 10, piece), ElementsAre("one", "two", "", kTooLong, "last")) << piece;
  }
}

TEST(LineSplitter, CountsTheLineAloneAgainstTheLimit) {
  for (std::size_t piece = 1; piece <= 7; ++piece) {
    EXPECT_THAT(split("12345\n", 5, piece), ElementsAre("12345"));
    EXPECT_THAT(split("12345\r\n", 5, piece), ElementsAre("12345"));
    EXPECT_THAT(split("123456\n", 5, piece), ElementsAre(kTooLong));
    EXPECT_THAT(split("12345\rx\n", 5, piece), ElementsAre(kTooLong));
  }
}

TEST(LineSplitter, ReportsAnEndlessLineOnceAndRecovers) {
  EXPECT_THAT(split(std::string(100000, 'x'), 10, 1000), ElementsAre(kTooLong));
  EXPECT_THAT(split(std::string(100000, 'x') + "\nok\n", 10, 1000), ElementsAre(kTooLong, "ok"));
  EXPECT_THAT(split("no end", 10, 3), IsEmpty());
}

}  // namespace
}  // namespace condensed::daemon
