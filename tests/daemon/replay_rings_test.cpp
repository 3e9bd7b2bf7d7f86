#include "daemon/replay_rings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

using testing::IsEmpty;

constexpr std::size_t kLine = 36;
constexpr std::size_t kEvent = kLine + ReplayRings::kEventBytes;

StreamEvent event(char name, std::int64_t position) {
  return {std::string(kLine, name), position};
}

engine::SessionId id(const std::string& name) {
  return {.user = 1000, .name = name};
}

/// The events kept from a position on, one character each.
std::string kept(ReplayRings& rings, const engine::SessionId& session, std::int64_t from) {
  std::string out;
  for (const std::string& line : rings.from(session, from)) {
    EXPECT_EQ(line.size(), kLine);
    out += line.front();
  }
  return out;
}

ReplayRings::Limits room_for(std::size_t events, std::size_t rings = 100) {
  const std::size_t ring = ReplayRings::kRingBytes + events * kEvent;
  return {.session_bytes = ring, .total_bytes = rings * ring};
}

TEST(ReplayRings, GivesWhatWasAddedFromAPositionOn) {
  ReplayRings rings(room_for(10));
  EXPECT_EQ(rings.kept_from(id("s"), 5), 5);
  EXPECT_EQ(kept(rings, id("s"), 0), "");
  rings.add(id("s"), event('a', 5));
  rings.add(id("s"), event('b', 6));
  rings.add(id("s"), event('D', 7));  // a done: as far as the stream is then
  rings.add(id("s"), event('c', 9));  // two tokens of input between
  EXPECT_EQ(rings.kept_from(id("s"), 10), 5);
  EXPECT_EQ(kept(rings, id("s"), 5), "abDc");
  EXPECT_EQ(kept(rings, id("s"), 7), "Dc");
  EXPECT_EQ(kept(rings, id("s"), 8), "c");
  EXPECT_EQ(kept(rings, id("s"), 10), "");
  EXPECT_EQ(kept(rings, id("other"), 0), "");
}

TEST(ReplayRings, DropsTheOldestAndSaysFromWhereItIsComplete) {
  ReplayRings rings(room_for(3));
  for (int i = 0; i < 5; ++i) {
    rings.add(id("s"), event(static_cast<char>('a' + i), 10 + i));
  }
  EXPECT_EQ(rings.kept_from(id("s"), 15), 12);
  EXPECT_EQ(kept(rings, id("s"), 12), "cde");
  EXPECT_LE(rings.bytes(), room_for(3).session_bytes);
}

TEST(ReplayRings, ADroppedDoneIsMissedByWhoWantsItsPosition) {
  ReplayRings rings(room_for(2));
  rings.add(id("s"), event('a', 4));
  rings.add(id("s"), event('D', 5));
  rings.add(id("s"), event('b', 5));
  rings.add(id("s"), event('c', 6));
  EXPECT_EQ(rings.kept_from(id("s"), 7), 6);  // b is there, but the done before it is not
  EXPECT_EQ(kept(rings, id("s"), 6), "c");
}

TEST(ReplayRings, WhatIsLargerThanARingIsNotKept) {
  ReplayRings rings(room_for(2));
  rings.add(id("s"), {std::string(1000, 'x'), 4});
  EXPECT_EQ(rings.kept_from(id("s"), 5), 5);
  EXPECT_THAT(rings.from(id("s"), 0), IsEmpty());
  rings.add(id("s"), event('a', 5));
  EXPECT_EQ(kept(rings, id("s"), 5), "a");
}

TEST(ReplayRings, TheRingUsedLeastRecentlyGoesFirst) {
  ReplayRings rings(room_for(1, 2));
  rings.add(id("a"), event('a', 1));
  rings.add(id("b"), event('b', 1));
  EXPECT_EQ(kept(rings, id("a"), 1), "a");  // a use, too
  rings.add(id("c"), event('c', 1));
  EXPECT_EQ(kept(rings, id("a"), 1), "a");
  EXPECT_EQ(kept(rings, id("b"), 1), "");
  EXPECT_EQ(rings.kept_from(id("b"), 2), 2);
  EXPECT_EQ(kept(rings, id("c"), 1), "c");
  EXPECT_LE(rings.bytes(), room_for(1, 2).total_bytes);
  // It begins again where it is.
  rings.add(id("b"), event('x', 2));
  EXPECT_EQ(rings.kept_from(id("b"), 3), 2);
}

TEST(ReplayRings, ARoomTooSmallForAnyRingKeepsNothing) {
  ReplayRings rings({.session_bytes = 1 << 20, .total_bytes = 100});
  rings.add(id("s"), event('a', 1));
  EXPECT_EQ(rings.bytes(), 0U);
  EXPECT_EQ(rings.kept_from(id("s"), 2), 2);
}

TEST(ReplayRings, WithoutBytesNothingIsKept) {
  ReplayRings rings({.session_bytes = 0, .total_bytes = 1 << 20});
  rings.add(id("s"), event('a', 1));
  EXPECT_EQ(rings.bytes(), 0U);
  EXPECT_EQ(rings.kept_from(id("s"), 2), 2);
}

TEST(ReplayRings, ASessionThatWentBackBeginsAgain) {
  ReplayRings rings(room_for(10));
  rings.add(id("s"), event('a', 8));
  rings.add(id("s"), event('b', 9));
  rings.add(id("s"), event('c', 3));
  EXPECT_EQ(rings.kept_from(id("s"), 4), 3);
  EXPECT_EQ(kept(rings, id("s"), 0), "c");
}

TEST(ReplayRings, ForgettingFreesEverything) {
  ReplayRings rings(room_for(10));
  rings.add(id("s"), event('a', 1));
  rings.forget(id("s"));
  rings.forget(id("s"));
  EXPECT_EQ(rings.bytes(), 0U);
  EXPECT_EQ(rings.kept_from(id("s"), 2), 2);
}

}  // namespace
}  // namespace condensed::daemon
