#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <boost/asio.hpp>
#include <sys/types.h>

namespace condensed::daemon {

/// Whom a socket's path belongs to; absent: as the process has it.
struct SocketOwner {
  std::optional<std::uint32_t> user;
  std::optional<std::uint32_t> group;
};

/// A listening Unix socket at a path, taken from nobody: a socket that another daemon serves is left alone,
/// one that nobody serves any more is replaced. Removes the path at the end if it is still its own. Or one
/// that a service manager listens on and passed on: its path belongs to the service manager and is never
/// removed.
class UnixListener {
 public:
  using Acceptor = boost::asio::local::stream_protocol::acceptor;
  using Socket = boost::asio::local::stream_protocol::socket;

  /// Throws InputError saying why the path cannot be used. Permissions are never wider than `mode`.
  UnixListener(boost::asio::io_context& io, std::string path, unsigned mode, const SocketOwner& owner = {});
  /// Takes over a listening Unix stream socket, which it owns from now on.
  UnixListener(boost::asio::io_context& io, int inherited);
  ~UnixListener();
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;

  Acceptor& acceptor() { return acceptor_; }
  /// Hands every connection to `take`, until close(). Bears what hinders accept() for a while.
  boost::asio::awaitable<void> accept_each(std::function<void(Socket)> take);
  /// The socket's path, as it is bound.
  const std::string& path() const { return path_; }
  bool inherited() const { return inherited_; }
  /// Stops listening and removes the path, unless the socket was inherited.
  void close();

 private:
  std::string path_;
  Acceptor acceptor_;
  bool inherited_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace condensed::daemon
