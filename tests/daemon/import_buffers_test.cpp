#include "daemon/import_buffers.h"

#include <vector>

#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

std::vector<std::byte> part(std::size_t size, int value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

TEST(ImportBuffers, JoinTheParts) {
  ImportBuffers buffers(100);
  EXPECT_TRUE(buffers.add(1, part(2, 7)));
  EXPECT_TRUE(buffers.add(2, part(1, 8)));
  EXPECT_TRUE(buffers.add(1, part(1, 9)));
  EXPECT_EQ(buffers.size(1), 3U);
  EXPECT_EQ(buffers.take(1), (std::vector<std::byte>{std::byte{7}, std::byte{7}, std::byte{9}}));
  EXPECT_EQ(buffers.size(1), 0U);
  EXPECT_EQ(buffers.take(2), part(1, 8));
}

TEST(ImportBuffers, AreBoundedTogether) {
  ImportBuffers buffers(10);
  EXPECT_TRUE(buffers.add(1, part(6, 0)));
  EXPECT_FALSE(buffers.add(2, part(5, 0)));
  EXPECT_EQ(buffers.size(1), 6U);  // the others keep theirs
  EXPECT_TRUE(buffers.add(2, part(4, 0)));
  EXPECT_FALSE(buffers.add(1, part(1, 0)));  // and it loses what it had
  EXPECT_EQ(buffers.size(1), 0U);
  EXPECT_TRUE(buffers.add(3, part(6, 0)));
}

TEST(ImportBuffers, WhatIsTakenOrForgottenMakesRoom) {
  ImportBuffers buffers(10);
  EXPECT_TRUE(buffers.add(1, part(10, 0)));
  buffers.take(1);
  EXPECT_TRUE(buffers.add(2, part(10, 0)));
  buffers.forget(2);
  buffers.forget(3);  // which has nothing
  EXPECT_TRUE(buffers.add(1, part(10, 0)));
}

TEST(ImportBuffers, NothingIsAFileToo) {
  ImportBuffers buffers(1);
  EXPECT_TRUE(buffers.take(1).empty());
  EXPECT_TRUE(buffers.add(1, {}));
  EXPECT_TRUE(buffers.take(1).empty());
}

}  // namespace
}  // namespace condensed::daemon
