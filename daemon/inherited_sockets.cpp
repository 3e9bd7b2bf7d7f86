#include "daemon/inherited_sockets.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <utility>

#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "engine/input_error.h"

namespace condensed::daemon {

namespace {

using engine::InputError;

/// What sd_listen_fds_with_names gives a socket that has no name of its own.
bool unnamed(const std::string& name) {
  return name.empty() || name == "unknown";
}

std::string described(int descriptor) {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof(int);
  if (::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
      ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    return "something that is not a socket";
  }
  if (domain != AF_UNIX) {
    return "a socket of another address family (" + std::to_string(domain) + ")";
  }
  if (type != SOCK_STREAM) {
    return "a Unix socket of another type (" + std::to_string(type) + ")";
  }
  return "a Unix stream socket that does not listen (is it Accept=yes?)";
}

void check(int descriptor, const std::string& name) {
  if (::sd_is_socket_unix(descriptor, SOCK_STREAM, /*listening=*/1, nullptr, 0) <= 0) {
    throw InputError("inherited descriptor " + std::to_string(descriptor) + " (" + name +
                     "): expected a listening Unix stream socket (ListenStream=/…), found " +
                     described(descriptor));
  }
}

}  // namespace

InheritedSockets::InheritedSockets(std::vector<std::pair<int, std::string>> descriptors) {
  const bool single = descriptors.size() == 1;
  std::optional<std::string> repeated;
  for (auto& [descriptor, name] : descriptors) {
    std::string key = single && unnamed(name) ? std::string(kProtocol) : std::move(name);
    if (const auto [place, added] = sockets_.try_emplace(std::move(key), descriptor); !added) {
      repeated = place->first;
      ::close(descriptor);
    }
  }
  try {
    if (repeated) {
      throw InputError("several inherited sockets are named " + *repeated +
                       "; give each a FileDescriptorName= of its own");
    }
    for (const auto& [name, descriptor] : sockets_) {
      check(descriptor, name);
    }
  } catch (const InputError&) {
    for (const auto& [name, descriptor] : sockets_) {
      ::close(descriptor);
    }
    throw;
  }
}

InheritedSockets::~InheritedSockets() {
  for (const auto& [name, descriptor] : sockets_) {
    ::close(descriptor);
  }
}

InheritedSockets::InheritedSockets(InheritedSockets&& other) noexcept
    : sockets_(std::exchange(other.sockets_, {})) {}

InheritedSockets InheritedSockets::from_environment() {
  char** names = nullptr;
  const int n = ::sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  if (n < 0) {
    throw InputError("the sockets announced by LISTEN_FDS cannot be taken: " +
                     std::string(std::strerror(-n)));
  }
  std::vector<std::pair<int, std::string>> descriptors;
  for (int i = 0; i < n; ++i) {
    descriptors.emplace_back(SD_LISTEN_FDS_START + i, names[i]);
    std::free(names[i]);  // NOLINT(cppcoreguidelines-owning-memory): libsystemd allocates them so
  }
  std::free(names);  // NOLINT(cppcoreguidelines-owning-memory)
  return InheritedSockets(std::move(descriptors));
}

std::optional<int> InheritedSockets::take(std::string_view name) {
  const auto found = sockets_.find(name);
  if (found == sockets_.end()) {
    return std::nullopt;
  }
  const int descriptor = found->second;
  sockets_.erase(found);
  return descriptor;
}

std::vector<std::string> InheritedSockets::names() const {
  std::vector<std::string> out;
  for (const auto& [name, descriptor] : sockets_) {
    out.push_back(name);
  }
  return out;
}

}  // namespace condensed::daemon
