#include "engine/text_stream.h"

#include <filesystem>
#include <random>

#include <gtest/gtest.h>

namespace condensed::engine {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer instance(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m/tokenizer.model",
                                  1024);
  return instance;
}

std::string streamed(const std::vector<std::int32_t>& tokens) {
  TextStream stream(tokenizer(), true);
  std::string text;
  for (const std::int32_t token : tokens) {
    const std::string piece = stream.push(token);
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
  }
  return text + stream.flush();
}

TEST(TextStream, PiecesJoinedEqualDecodingTheWhole) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    // Bytes (3 … 258), control and unknown tokens (0 … 2) and pieces, mixed in different proportions.
    std::vector<std::int32_t> tokens(random() % 40);
    const std::uint32_t limit = trial % 3 == 0 ? 259 : trial % 3 == 1 ? 1024 : 400;
    for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % limit);
    ASSERT_EQ(streamed(tokens), tokenizer().decode(tokens)) << testing::PrintToString(tokens);
  }
}

TEST(TextStream, CharactersOfSeveralTokensComeOutWhole) {
  const std::string text =
      "\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xA9 \xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82";
  TextStream stream(tokenizer(), true);
  std::vector<std::string> pieces;
  for (const std::int32_t token : tokenizer().encode(text, Tokenizer::Place::start)) {
    pieces.push_back(stream.push(token));
  }
  std::string joined;
  bool held_back = false;
  for (const std::string& piece : pieces) {
    EXPECT_TRUE(is_valid_utf8(piece));
    held_back |= piece.empty();
    joined += piece;
  }
  EXPECT_EQ(joined, text);
  EXPECT_TRUE(held_back);
}

TEST(TextStream, OnlyTheFirstTextOfAStreamLosesItsSpace) {
  const auto word = tokenizer().encode(" the", Tokenizer::Place::continuation);
  ASSERT_EQ(word.size(), 1U);
  TextStream first(tokenizer(), true);
  EXPECT_EQ(first.push(1), "");
  EXPECT_EQ(first.push(word[0]), "the");
  EXPECT_EQ(first.push(word[0]), " the");
  TextStream later(tokenizer(), false);
  EXPECT_EQ(later.push(word[0]), " the");
}

TEST(StopMatcher, FindsTheStopStringCompletedFirstWhateverThePieces) {
  std::mt19937 random(2);
  int found = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    const auto letters = [&](std::size_t n) {
      std::string out(n, 'a');
      for (char& c : out) c = static_cast<char>('a' + random() % 2);
      return out;
    };
    const std::string text = letters(random() % 30);
    std::vector<std::string> stops;
    for (std::uint32_t i = 0; i <= random() % 3; ++i) stops.push_back(letters(1 + random() % 6));

    std::size_t first = std::string::npos;
    for (std::size_t end = 1; end <= text.size() && first == std::string::npos; ++end) {
      for (const std::string& stop : stops) {
        if (std::string_view(text).substr(0, end).ends_with(stop)) first = std::min(first, end - stop.size());
      }
    }

    StopMatcher matcher(stops);
    std::string shown;
    std::string stop;
    for (std::size_t at = 0; at < text.size() && stop.empty();) {
      const std::size_t n = std::min<std::size_t>(1 + random() % 4, text.size() - at);
      const StopMatcher::Result result = matcher.push(std::string_view(text).substr(at, n));
      shown += result.text;
      stop = result.stop;
      at += n;
      // What is shown can no longer be the beginning of a stop string.
      EXPECT_LE(shown.size(), first);
    }
    if (first == std::string::npos) {
      ASSERT_EQ(stop, "");
      ASSERT_EQ(shown + matcher.flush(), text);
    } else {
      ++found;
      ASSERT_EQ(shown, text.substr(0, first));
      ASSERT_EQ(text.compare(first, stop.size(), stop), 0);
      ASSERT_NE(stop, "");
    }
  }
  EXPECT_GT(found, 1000);
}

TEST(StopMatcher, HoldsBackNoMoreThanItMust) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.push("Hello").text, "Hello");
  EXPECT_EQ(matcher.push(" there\n").text, " there");
  EXPECT_EQ(matcher.push("\nUs").text, "");
  EXPECT_EQ(matcher.push("e it").text, "\n\nUse it");
  EXPECT_EQ(matcher.push("\n\nUser: x").stop, "\n\nUser:");
}

}  // namespace
}  // namespace condensed::engine
