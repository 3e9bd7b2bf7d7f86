#include "engine/file_text.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string refusal(const fs::path& path) {
  try {
    file_text(path, "; look again");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(FileText, IsEveryByte) {
  const fs::path path = fs::path(testing::TempDir()) / "condensed-file-text";
  for (const std::string& text : {std::string(), std::string("a\r\n\0\xff", 5), std::string(100'000, 'x')}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    EXPECT_EQ(file_text(path), text);
  }
  fs::remove(path);
}

TEST(FileText, SaysWhatCannotBeReadAndWhy) {
  EXPECT_THAT(refusal("/nowhere/x"),
              AllOf(HasSubstr("/nowhere/x: cannot be read: No such file"), EndsWith("; look again")));
  EXPECT_THAT(refusal(testing::TempDir()), HasSubstr("cannot be read: Is a directory"));
}

}  // namespace
}  // namespace condensed::engine
