#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace condensed::daemon {

/// Who is at the other end of a Unix socket, as the kernel vouches for it.
struct Peer {
  std::uint32_t user = 0;
  std::vector<std::uint32_t> groups;  // the primary one first
};

/// SO_PEERCRED and SO_PEERGROUPS of a connected socket. Throws std::system_error.
Peer peer_of(int socket);

/// The id of a user given by name or number, as requests and settings do; nothing if there is none.
std::optional<std::uint32_t> user_id(const std::string& user);
std::optional<std::uint32_t> group_id(const std::string& group);

/// Decides whose sessions a request is about. Sessions belong to the user that opened them; nobody else sees
/// them but administrators: root, and who is in the administrators' group.
class Access {
 public:
  /// admin_group: its id, if there is one.
  explicit Access(std::optional<std::uint32_t> admin_group) : admin_group_(admin_group) {}

  bool is_admin(const Peer& peer) const;

  /// Everybody's sessions.
  struct All {};
  struct Refusal {
    std::string_view code;
    std::string message;
  };
  using Subject = std::variant<std::uint32_t, All, Refusal>;

  /// requested: the request's `user`: a name, a number, or "*" for all; absent: the peer itself.
  Subject subject(const Peer& peer, const std::optional<std::string>& requested) const;

 private:
  std::optional<std::uint32_t> admin_group_;
};

}  // namespace condensed::daemon
