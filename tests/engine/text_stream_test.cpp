#include "engine/text_stream.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <unistd.h>

#include <gtest/gtest.h>

namespace condensed::engine {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer instance(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m/tokenizer.model",
                                  1024);
  return instance;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int32_t>& tokens) {
  TextStream stream(tokenizer, true);
  std::string text;
  for (const std::int32_t token : tokens) {
    const std::string piece = stream.push(token);
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
  }
  return text + stream.flush();
}

void expect_pieces_equal_decoding(const Tokenizer& tokenizer, int trials) {
  std::mt19937 random(1);
  const auto spaces = tokenizer.encode("  the", Tokenizer::Place::continuation);
  for (int trial = 0; trial < trials; ++trial) {
    // Bytes (3 … 258), control and unknown tokens (0 … 2), pieces and spaces, mixed in different proportions.
    std::vector<std::int32_t> tokens(random() % 40);
    const std::uint32_t limit = trial % 3 == 0 ? 259 : trial % 3 == 1 ? 1024 : 400;
    for (std::int32_t& token : tokens) {
      token =
          random() % 4 == 0 ? spaces[random() % spaces.size()] : static_cast<std::int32_t>(random() % limit);
    }
    ASSERT_EQ(streamed(tokenizer, tokens), tokenizer.decode(tokens)) << testing::PrintToString(tokens);
  }
}

TEST(TextStream, PiecesJoinedEqualDecodingTheWhole) {
  expect_pieces_equal_decoding(tokenizer(), 3000);
}

TEST(TextStream, PiecesJoinedEqualDecodingForEveryTreatmentOfSpaces) {
  std::ifstream file(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m/tokenizer.model",
                     std::ios::binary);
  const std::string model{std::istreambuf_iterator<char>(file), {}};
  const auto changed =
      std::filesystem::temp_directory_path() / ("text_stream_test_" + std::to_string(::getpid()));
  for (const char add_dummy_prefix : {'\0', '\1'}) {
    for (const char remove_extra_whitespaces : {'\0', '\1'}) {
      // Joined messages merge: normalizer_spec (3) { add_dummy_prefix (3), remove_extra_whitespaces (4) }.
      const std::string spec{'\x1A', 4, '\x18', add_dummy_prefix, '\x20', remove_extra_whitespaces};
      std::ofstream(changed, std::ios::binary) << model << spec;
      const Tokenizer other(changed, 1024);
      const auto expected = remove_extra_whitespaces != 0 ? Tokenizer::LeadingSpace::dropped
                            : add_dummy_prefix != 0       ? Tokenizer::LeadingSpace::dropped_once
                                                          : Tokenizer::LeadingSpace::shown;
      EXPECT_EQ(other.leading_space(), expected);
      expect_pieces_equal_decoding(other, 1000);
    }
  }
  std::filesystem::remove(changed);
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
      // What is shown can no longer be the beginning of a stop string; what is held back still can.
      EXPECT_LE(shown.size(), first);
      if (const std::string_view held = std::string_view(text).substr(shown.size(), at - shown.size());
          stop.empty() && !held.empty()) {
        EXPECT_TRUE(std::any_of(stops.begin(), stops.end(), [&](const std::string& s) {
          return s.starts_with(held);
        })) << held;
      }
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

TEST(StopMatcher, WholeCharactersStayWhole) {
  // Characters that share their first bytes.
  const std::vector<std::string> alphabet{
      "\xC3\xA9", "\xC3\xA8", "\xE2\x82\xAC", "\xE2\x82\xAD", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x81", "a"};
  std::mt19937 random(3);
  const auto characters = [&](std::size_t n) {
    std::string out;
    while (n-- > 0) out += alphabet[random() % alphabet.size()];
    return out;
  };
  for (int trial = 0; trial < 5000; ++trial) {
    StopMatcher matcher({characters(1 + random() % 3), characters(1 + random() % 3)});
    bool stopped = false;
    while (!stopped && random() % 20 != 0) {
      const StopMatcher::Result result = matcher.push(characters(random() % 3));
      ASSERT_TRUE(is_valid_utf8(result.text));
      stopped = !result.stop.empty();
    }
    ASSERT_TRUE(is_valid_utf8(matcher.flush()));
  }
}

}  // namespace
}  // namespace condensed::engine
