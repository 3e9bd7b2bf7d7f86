#include "daemon/access.h"

#include <array>
#include <string>
#include <system_error>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace condensed::daemon {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr std::uint32_t kAlice = 30001;
constexpr std::uint32_t kBob = 30002;
constexpr std::uint32_t kAdmins = 30003;

const Peer kRoot{.user = 0, .groups = {0}};
const Peer kAliceAlone{.user = kAlice, .groups = {kAlice}};
const Peer kBobTheAdmin{.user = kBob, .groups = {kBob, 50, kAdmins}};

/// The user, "all" or the code of the refusal.
std::string subject(const Access& access, const Peer& peer, const std::optional<std::string>& requested) {
  const Access::Subject subject = access.subject(peer, requested);
  if (const auto* user = std::get_if<std::uint32_t>(&subject)) {
    return std::to_string(*user);
  }
  const auto* refusal = std::get_if<Access::Refusal>(&subject);
  return refusal == nullptr ? "all" : std::string(refusal->code);
}

TEST(Access, WithoutAUserItIsOnesOwn) {
  const Access access(kAdmins);
  EXPECT_EQ(subject(access, kRoot, std::nullopt), "0");
  EXPECT_EQ(subject(access, kAliceAlone, std::nullopt), "30001");
  EXPECT_EQ(subject(access, kBobTheAdmin, std::nullopt), "30002");
}

TEST(Access, EverybodyMayNameThemselves) {
  EXPECT_EQ(subject(Access(std::nullopt), kAliceAlone, "30001"), "30001");
}

TEST(Access, OthersAreForAdministrators) {
  const Access access(kAdmins);
  for (const char* other : {"30002", "root", "*", "no-such-user", ""}) {
    EXPECT_EQ(subject(access, kAliceAlone, other), "forbidden") << other;
  }
  for (const Peer& peer : {kRoot, kBobTheAdmin}) {
    EXPECT_EQ(subject(access, peer, "30001"), "30001");
    EXPECT_EQ(subject(access, peer, "root"), "0");
    EXPECT_EQ(subject(access, peer, "*"), "all");
    EXPECT_EQ(subject(access, peer, "no-such-user"), "bad_request");
  }
}

TEST(Access, AnAdministratorIsRootOrInTheGroup) {
  const Access access(kAdmins);
  EXPECT_TRUE(access.is_admin(kRoot));
  EXPECT_FALSE(access.is_admin(kAliceAlone));
  EXPECT_TRUE(access.is_admin(kBobTheAdmin));
  EXPECT_TRUE(access.is_admin({.user = kAlice, .groups = {kAdmins}}));  // as primary group
  const Access without_group(std::nullopt);
  EXPECT_TRUE(without_group.is_admin(kRoot));
  EXPECT_FALSE(without_group.is_admin(kBobTheAdmin));
  EXPECT_FALSE(without_group.is_admin({.user = kAlice, .groups = {0}}));  // root's group is nothing special
}

TEST(Access, ARefusalDoesNotTellWhoExists) {
  const auto message = [](const char* user) {
    return std::get<Access::Refusal>(Access(std::nullopt).subject(kAliceAlone, user)).message;
  };
  EXPECT_EQ(message("root"), message("no-such-user"));
  EXPECT_THAT(std::get<Access::Refusal>(Access(std::nullopt).subject(kRoot, "no-such-user")).message,
              HasSubstr("there is no user no-such-user"));
}

TEST(Access, UsersAndGroupsHaveNamesOrNumbers) {
  EXPECT_EQ(user_id("root"), 0U);
  EXPECT_EQ(group_id("root"), 0U);
  EXPECT_EQ(user_id("30001"), kAlice);  // whether or not there is one
  EXPECT_EQ(group_id("30003"), kAdmins);
  EXPECT_EQ(user_id("4294967294"), 4294967294U);
  for (const char* none : {"no-such-one", "", "-1", "4294967296", "1x", " 1"}) {
    EXPECT_EQ(user_id(none), std::nullopt) << none;
    EXPECT_EQ(group_id(none), std::nullopt) << none;
  }
}

TEST(Access, ThePeerOfASocketIsWhoConnected) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
  const Peer peer = peer_of(pair[0]);
  EXPECT_EQ(peer.user, ::geteuid());
  ASSERT_FALSE(peer.groups.empty());
  EXPECT_EQ(peer.groups.front(), ::getegid());
  std::array<gid_t, 1024> groups{};
  const int n_groups = ::getgroups(static_cast<int>(groups.size()), groups.data());
  ASSERT_GE(n_groups, 0);
  for (int i = 0; i < n_groups; ++i) {
    EXPECT_THAT(peer.groups, Contains(groups[static_cast<std::size_t>(i)]));
  }
  ::close(pair[0]);
  ::close(pair[1]);
  EXPECT_THROW(peer_of(pair[0]), std::system_error);
}

}  // namespace
}  // namespace condensed::daemon
