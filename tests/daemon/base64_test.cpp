#include "daemon/base64.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes;
  for (const char c : text) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  return bytes;
}

TEST(Base64, HasTheVectorsOfTheRfc) {
  const std::vector<std::pair<std::string_view, std::string_view>> vectors{{"", ""},
                                                                           {"f", "Zg=="},
                                                                           {"fo", "Zm8="},
                                                                           {"foo", "Zm9v"},
                                                                           {"foob", "Zm9vYg=="},
                                                                           {"fooba", "Zm9vYmE="},
                                                                           {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(to_base64(bytes_of(plain)), encoded);
    EXPECT_EQ(from_base64(encoded), bytes_of(plain)) << encoded;
  }
}

TEST(Base64, CarriesEveryByte) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 256; ++i) {
    bytes.push_back(static_cast<std::byte>(i));
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes) << i;
  }
}

TEST(Base64, TakesNothingElse) {
  for (const std::string_view text : {"A", "AA", "AAA", "AAAAA", "=", "====", "A===", "AA=A", "A=AA", "=AAA",
                                      "AA==AAAA", "AA-_", "A A=", "AA=\n", "\xC3\xA9==", "AAAA\n"}) {
    EXPECT_EQ(from_base64(text), std::nullopt) << text;
  }
  EXPECT_EQ(from_base64(std::string_view("A\0AA", 4)), std::nullopt);
}

}  // namespace
}  // namespace condensed::daemon
