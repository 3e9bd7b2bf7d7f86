#include "engine/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::engine {
namespace {

std::filesystem::path bundled() {
  return std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m/tokenizer.model";
}

constexpr std::string_view kText =
    "It was the best of times,  it was the worst of times;\n\"Caf\xC3\xA9 \xE2\x80\x94 na\xC3\xAFve\" "
    "\xF0\x9F\x98\x80 said "
    "Mr. O'Brien (1859), walking on... and on, and on.";

TEST(Tokenizer, DecodingWhatWasEncodedGivesTheText) {
  const Tokenizer tokenizer(bundled(), 1024);
  EXPECT_EQ(tokenizer.leading_space(), Tokenizer::LeadingSpace::dropped_once);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(kText, Tokenizer::Place::start)), kText);
  std::string joined;
  for (const std::int32_t token : tokenizer.encode(kText, Tokenizer::Place::continuation)) {
    joined += tokenizer.bytes(token);
  }
  EXPECT_EQ(joined, kText);
}

TEST(Tokenizer, OnlyTheStartOfAStreamGetsALeadingSpace) {
  const Tokenizer tokenizer(bundled(), 1024);
  const auto spaced = tokenizer.encode(" the", Tokenizer::Place::continuation);
  EXPECT_EQ(tokenizer.encode("the", Tokenizer::Place::start), spaced);
  EXPECT_NE(tokenizer.encode("the", Tokenizer::Place::continuation), spaced);
}

TEST(Tokenizer, PartsCutByEncodablePrefixGiveTheTokensOfTheWhole) {
  const Tokenizer tokenizer(bundled(), 1024);
  std::string text;
  for (int i = 0; i < 20; ++i) text += kText;
  const auto whole = tokenizer.encode(text, Tokenizer::Place::start);
  for (const std::size_t size : {16, 37, 100, 512}) {
    std::vector<std::int32_t> parts;
    auto place = Tokenizer::Place::start;
    for (std::string_view rest = text; !rest.empty(); place = Tokenizer::Place::continuation) {
      const std::size_t n = encodable_prefix(rest, size);
      ASSERT_GT(n, 0U);
      const auto part = tokenizer.encode(rest.substr(0, n), place);
      parts.insert(parts.end(), part.begin(), part.end());
      rest.remove_prefix(n);
    }
    EXPECT_EQ(parts, whole) << size;
  }
}

TEST(Tokenizer, EncodablePrefixNeverCutsACharacter) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\xF0\x9F\x98\x80";
  for (std::size_t size = 1; size < 20; ++size) {
    for (std::string_view rest = text; !rest.empty();) {
      const std::size_t n = encodable_prefix(rest, size);
      ASSERT_GT(n, 0U);
      EXPECT_TRUE(is_valid_utf8(rest.substr(0, n)));
      rest.remove_prefix(n);
    }
  }
}

TEST(Tokenizer, IdsBeyondThePiecesStandForNothing) {
  const Tokenizer tokenizer(bundled(), 32000);
  for (const std::int32_t token : {-1, 1024, 31999}) {
    EXPECT_EQ(tokenizer.kind(token), Tokenizer::Kind::control);
    EXPECT_EQ(tokenizer.bytes(token), "");
  }
}

TEST(Tokenizer, RefusesWhatIsNoModel) {
  const auto file = std::filesystem::temp_directory_path() / ("tokenizer_test_" + std::to_string(::getpid()));
  std::ifstream good(bundled(), std::ios::binary);
  std::stringstream bytes;
  bytes << good.rdbuf();
  const std::string model = bytes.str();
  const auto load = [&](const std::string& content) {
    std::ofstream(file, std::ios::binary) << content;
    Tokenizer tokenizer(file, 1024);
  };
  EXPECT_THROW(load(""), InputError);
  EXPECT_THROW(load("this is no model"), InputError);
  EXPECT_THROW(load(model.substr(0, model.size() / 2 + 1)), InputError);
  EXPECT_THROW(Tokenizer(bundled(), 1023), InputError);
  EXPECT_THROW(Tokenizer("/no/such/file", 1024), InputError);
  // Flipped bytes: refused, or a model all the same, but never a crash.
  std::mt19937 random(5);
  int refused = 0;
  for (int trial = 0; trial < 200; ++trial) {
    std::string broken = model;
    broken[random() % broken.size()] ^= static_cast<char>(1 + random() % 255);
    try {
      std::ofstream(file, std::ios::binary) << broken;
      const Tokenizer tokenizer(file, 1024);
      for (std::int32_t token = 0; token < tokenizer.n_pieces(); ++token) {
        ASSERT_TRUE(tokenizer.kind(token) == Tokenizer::Kind::byte || is_valid_utf8(tokenizer.bytes(token)));
      }
    } catch (const InputError& error) {
      ++refused;
      EXPECT_THAT(error.what(), testing::HasSubstr(file.string()));
    }
  }
  EXPECT_GT(refused, 0);
  std::filesystem::remove(file);
}

TEST(Utf8, AcceptsExactlyTheWellFormedCharacters) {
  const auto reference = [](std::uint32_t code) {
    std::string out;
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    } else if (code < 0x10000) {
      out += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
              static_cast<char>(0x80 | (code & 0x3F))};
    } else {
      out += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 0x3F)),
              static_cast<char>(0x80 | (code >> 6 & 0x3F)), static_cast<char>(0x80 | (code & 0x3F))};
    }
    return out;
  };
  for (std::uint32_t code = 0; code < 0x120000; ++code) {
    const bool good = code < 0xD800 || (code > 0xDFFF && code <= 0x10FFFF);
    const std::string text = reference(code);
    ASSERT_EQ(is_valid_utf8(text), good) << code;
    for (std::size_t n = 1; good && n < text.size(); ++n) {
      ASSERT_TRUE(is_incomplete_utf8(text.substr(0, n))) << code;
      ASSERT_FALSE(is_valid_utf8(text.substr(0, n))) << code;
    }
  }
  for (const char* overlong :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\x80", "\xF5\x80\x80\x80"}) {
    EXPECT_FALSE(is_valid_utf8(overlong));
    EXPECT_FALSE(is_incomplete_utf8(std::string_view(overlong).substr(0, 2)));
  }
}

}  // namespace
}  // namespace condensed::engine
