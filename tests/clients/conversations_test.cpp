#include "clients/bench/conversations.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refused(const std::string& text) {
  try {
    Conversations::parse(text, "file");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Conversations, TextHasATurnInALine) {
  const Conversations all = Conversations::parse("\nHello\r\nAnd then?\n\n\nBye {", "file");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all[0], ElementsAre("Hello", "And then?"));
  EXPECT_THAT(all[1], ElementsAre("Bye {"));
}

TEST(Conversations, JsonLinesHaveTurns) {
  const Conversations all = Conversations::parse(
      "{\"question_id\": 81, \"category\": \"writing\", \"turns\": [\"Compose \\n a post.\", \"Rewrite "
      "it.\"]}\n"
      "{\"turns\": [\"One\"]}\n",
      "file");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all[0], ElementsAre("Compose \n a post.", "Rewrite it."));
  EXPECT_THAT(all[1], ElementsAre("One"));
}

TEST(Conversations, WhatIsNeitherIsRefusedWithItsLine) {
  EXPECT_THAT(refused(""), HasSubstr("file: expected at least one turn"));
  EXPECT_THAT(refused("\n\n"), HasSubstr("expected at least one turn"));
  const std::string good = "{\"turns\": [\"One\"]}\n";
  for (const char* bad : {"One", "[1]", "{\"turns\": []}", "{\"turns\": \"One\"}", "{\"turns\": [1]}",
                          "{\"turns\": [\"\"]}", "{\"turn\": [\"One\"]}", "{\"turns\": [\"One\"]"}) {
    EXPECT_THAT(refused(good + bad), HasSubstr("file, line 2: expected a JSON object with \"turns\"")) << bad;
  }
  EXPECT_THROW(Conversations::from_file("/nonexistent/turns"), std::invalid_argument);
}

TEST(Conversations, BundledOnesDifferInLength) {
  const Conversations all = Conversations::bundled();
  std::size_t n_turns = 0;
  std::size_t shortest = 1000;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const std::string& turn : all[i]) {
      ++n_turns;
      shortest = std::min(shortest, turn.size());
      longest = std::max(longest, turn.size());
    }
  }
  EXPECT_GE(n_turns, 30U);
  EXPECT_LE(shortest, 10U);
  EXPECT_GE(longest, 1000U);
}

}  // namespace
}  // namespace condensed::bench
