#include "daemon/access.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <grp.h>
#include <pwd.h>
#include <system_error>

#include <sys/socket.h>

namespace condensed::daemon {

namespace {

constexpr std::size_t kEntryBytes = 65536;  // for what the name service returns

std::optional<std::uint32_t> number(const std::string& text) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && parsed_to == end ? std::optional(value) : std::nullopt;
}

std::vector<std::uint32_t> peer_groups(int socket) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const bool fits = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0;
    groups.resize(size / sizeof(gid_t));
    if (fits) {
      return {groups.begin(), groups.end()};
    }
    if (errno != ERANGE) {
      throw std::system_error(errno, std::generic_category(), "SO_PEERGROUPS");
    }
  }
}

}  // namespace

Peer peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    throw std::system_error(errno, std::generic_category(), "SO_PEERCRED");
  }
  Peer peer{.user = credentials.uid, .groups = {credentials.gid}};
  const std::vector<std::uint32_t> more = peer_groups(socket);
  peer.groups.insert(peer.groups.end(), more.begin(), more.end());
  return peer;
}

std::optional<std::uint32_t> user_id(const std::string& user) {
  if (const auto id = number(user)) {
    return id;
  }
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, kEntryBytes> text{};
  if (::getpwnam_r(user.c_str(), &entry, text.data(), text.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return entry.pw_uid;
}

std::optional<std::uint32_t> group_id(const std::string& name) {
  if (const auto id = number(name)) {
    return id;
  }
  group entry{};
  group* found = nullptr;
  std::array<char, kEntryBytes> text{};
  if (::getgrnam_r(name.c_str(), &entry, text.data(), text.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return entry.gr_gid;
}

bool Access::is_admin(const Peer& peer) const {
  return peer.user == 0 || (admin_group_ && std::find(peer.groups.begin(), peer.groups.end(),
                                                      *admin_group_) != peer.groups.end());
}

Access::Subject Access::subject(const Peer& peer, const std::optional<std::string>& requested) const {
  if (!requested) {
    return peer.user;
  }
  const bool all = *requested == "*";
  const std::optional<std::uint32_t> user = all ? std::nullopt : user_id(*requested);
  if (user && *user == peer.user) {
    return *user;
  }
  if (!is_admin(peer)) {  // before it is told whether there is such a user
    return Refusal{"forbidden", "the sessions of others are for root and the administrators' group"};
  }
  if (all) {
    return All{};
  }
  if (!user) {
    return Refusal{"bad_request", "\"user\": there is no user " + *requested};
  }
  return *user;
}

}  // namespace condensed::daemon
