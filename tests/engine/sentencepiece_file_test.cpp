#include "engine/sentencepiece_file.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "engine/tokenizer.h"

namespace condensed::engine {
namespace {

constexpr std::size_t kChildren = 256;  // where the root's children are
constexpr std::size_t kValue = 257;     // where the child's value is

/// The trie of a character map that turns "A" into "b".
std::vector<std::uint32_t> trie() {
  std::vector<std::uint32_t> units(512, 0xFF);  // a label that no place but 511 may have
  units[511] = 0;
  units[0] = kChildren << 10;
  units[kChildren + 'A'] = static_cast<std::uint32_t>(((kChildren + 'A') ^ kValue) << 10) | 0x100U | 'A';
  units[kValue] = 0x80000000U;
  return units;
}

std::string character_map(const std::vector<std::uint32_t>& units, const std::string& replacements) {
  std::vector<std::uint32_t> words{static_cast<std::uint32_t>(units.size() * 4)};
  words.insert(words.end(), units.begin(), units.end());
  std::string map(words.size() * 4, '\0');
  std::memcpy(map.data(), words.data(), map.size());
  return map + replacements;
}

std::string field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  std::size_t size = bytes.size();
  for (; size >= 128; size >>= 7) out += static_cast<char>(0x80 | (size & 127));
  return out + static_cast<char>(size) + bytes;
}

/// normalizer_spec { precompiled_charsmap }
std::string model_with(const std::string& map) {
  return field(3, field(2, map));
}

TEST(SentencepieceFile, ReadsTheRulesForSpaces) {
  EXPECT_TRUE(check_sentencepiece_model("f", "").add_dummy_prefix);
  EXPECT_TRUE(check_sentencepiece_model("f", "").remove_extra_whitespaces);
  const SpaceRules rules = check_sentencepiece_model(
      "f", field(3, std::string("\x18\x00\x20\x01", 4)) + field(3, std::string("\x20\x00", 2)));
  EXPECT_FALSE(rules.add_dummy_prefix);
  EXPECT_FALSE(rules.remove_extra_whitespaces);
}

TEST(SentencepieceFile, AcceptsACharacterMapThatSentencepieceFollows) {
  const std::string map = character_map(trie(), std::string("b\0", 2));
  EXPECT_NO_THROW(check_sentencepiece_model("f", model_with(map)));
  // Proof that the map above is one: "A" is read as "b".
  const auto bundled = std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m/tokenizer.model";
  const auto changed =
      std::filesystem::temp_directory_path() / ("sentencepiece_file_test_" + std::to_string(::getpid()));
  std::ifstream file(bundled, std::ios::binary);
  std::ofstream(changed, std::ios::binary)
      << std::string{std::istreambuf_iterator<char>(file), {}} << model_with(map);
  const Tokenizer tokenizer(changed, 1024);
  EXPECT_EQ(tokenizer.encode("A cAt", Tokenizer::Place::start),
            tokenizer.encode("b cbt", Tokenizer::Place::start));
  std::filesystem::remove(changed);
}

TEST(SentencepieceFile, RefusesACharacterMapThatLeadsOutside) {
  const std::string replacements("b\0", 2);
  const auto refused = [](const std::string& map) {
    EXPECT_THAT([&] { check_sentencepiece_model("the-file", model_with(map)); },
                testing::ThrowsMessage<InputError>(
                    testing::AllOf(testing::StartsWith("the-file"), testing::HasSubstr("character map"))));
    EXPECT_THROW(check_sentencepiece_model("f", field(5, field(2, map))), InputError);  // denormalizer_spec
  };
  auto units = trie();
  units[0] = 512 << 10;  // children behind the end
  refused(character_map(units, replacements));
  units = trie();
  units[kChildren + 'A'] |= 0x3FF00000U;  // a grandchild far away
  refused(character_map(units, replacements));
  units = trie();
  units[kValue] = 0x80000002U;  // a replacement behind the end
  refused(character_map(units, replacements));
  refused(character_map(trie(), "b"));  // a replacement without an end
  refused(character_map({}, replacements));
  refused(character_map(trie(), ""));
  refused("abc");
}

TEST(SentencepieceFile, RefusesWhatIsNoMessage) {
  for (const std::string bytes : {"\x1A", "\x1A\x05\x18", "\x08", "\x0B", "\x09 1234", "\x0D 12"}) {
    EXPECT_THROW(check_sentencepiece_model("f", bytes), InputError) << testing::PrintToString(bytes);
  }
  EXPECT_THROW(check_sentencepiece_model("f", std::string(12, '\xFF')), InputError);
}

}  // namespace
}  // namespace condensed::engine
