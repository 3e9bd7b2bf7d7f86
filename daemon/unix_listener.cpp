#include "daemon/unix_listener.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <unistd.h>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "daemon/episode.h"
#include "engine/input_error.h"

namespace condensed::daemon {

namespace {

using engine::InputError;
using Protocol = boost::asio::local::stream_protocol;

constexpr std::chrono::milliseconds kAcceptBackOff{100};
constexpr std::size_t kMaxPathBytes = 107;  // sun_path of unix(7), without its end

[[noreturn]] void fail(const std::string& path, const std::string& message) {
  throw InputError("socket " + path + ": " + message);
}

/// Tries to connect, without ever waiting. 0 or the error number.
int probe(boost::asio::io_context& io, const std::string& path) {
  Protocol::socket socket(io, Protocol());
  socket.native_non_blocking(true);
  const Protocol::endpoint endpoint(path);
  return ::connect(socket.native_handle(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) == 0
             ? 0
             : errno;
}

/// Makes sure that nothing is at the path.
void clear_path(boost::asio::io_context& io, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      return;
    }
    fail(path, std::strerror(errno));
  }
  if (!S_ISSOCK(status.st_mode)) {
    fail(path, "there is a file that is not a socket; choose another path or remove it");
  }
  const int error = probe(io, path);
  switch (error) {
    case 0:
    case EAGAIN:  // its queue of connections is full
      fail(path, "another daemon serves it; stop that one or choose another path");
    case ECONNREFUSED:
      break;
    case ENOENT:
      return;  // gone meanwhile
    default:
      fail(path, "cannot tell whether another daemon serves it: " + std::string(std::strerror(error)));
  }
  if (::unlink(path.c_str()) != 0) {
    fail(path, "the stale socket there cannot be removed: " + std::string(std::strerror(errno)));
  }
}

}  // namespace

UnixListener::UnixListener(boost::asio::io_context& io, std::string path, unsigned mode,
                           const SocketOwner& owner)
    : path_(std::move(path)), acceptor_(io) {
  if (path_.size() > kMaxPathBytes) {
    fail(path_, "the path has " + std::to_string(path_.size()) + " bytes, at most " +
                    std::to_string(kMaxPathBytes) + " are possible");
  }
  const std::filesystem::path folder = std::filesystem::absolute(path_).parent_path();
  if (!std::filesystem::is_directory(folder)) {
    fail(path_, "the folder " + folder.string() + " does not exist; create it");
  }
  clear_path(io, path_);

  boost::system::error_code error;
  acceptor_.open(Protocol(), error);
  const mode_t old_mask = ::umask(static_cast<mode_t>(~mode & 0777U));
  if (!error) {
    acceptor_.bind(Protocol::endpoint(path_), error);
  }
  ::umask(old_mask);
  // Before anybody can connect.
  if (!error && (owner.user || owner.group) &&
      ::chown(path_.c_str(), owner.user.value_or(static_cast<uid_t>(-1)),
              owner.group.value_or(static_cast<gid_t>(-1))) != 0) {
    const std::string reason = std::strerror(errno);
    ::unlink(path_.c_str());
    fail(path_, "cannot give it to its owner and group (socket_owner, socket_group): " + reason);
  }
  if (!error) {
    acceptor_.listen(Protocol::acceptor::max_listen_connections, error);
  }
  if (error) {
    fail(path_, "cannot listen: " + error.message());
  }
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0) {
    device_ = status.st_dev;
    inode_ = status.st_ino;
  }
}

UnixListener::UnixListener(boost::asio::io_context& io, int inherited) : acceptor_(io), inherited_(true) {
  boost::system::error_code error;
  acceptor_.assign(Protocol(), inherited, error);
  if (error) {
    ::close(inherited);
    throw InputError("the inherited socket cannot be used: " + error.message());
  }
  const Protocol::endpoint bound = acceptor_.local_endpoint(error);
  path_ = error ? "?" : bound.path();
}

UnixListener::~UnixListener() {
  close();
}

boost::asio::awaitable<void> UnixListener::accept_each(std::function<void(Socket)> take) {
  const auto quietly = boost::asio::as_tuple(boost::asio::use_awaitable);
  boost::asio::steady_timer back_off(acceptor_.get_executor());
  Episode failures(std::chrono::seconds(10));
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(quietly);
    if (!error) {
      take(std::move(socket));
    } else if (acceptor_.is_open()) {
      // Out of descriptors or memory: those who are connected must not suffer, and it may pass.
      if (failures.begins()) {
        spdlog::warn("cannot accept connections: {}; trying every {} ms", error.message(),
                     kAcceptBackOff.count());
      }
      back_off.expires_after(kAcceptBackOff);
      co_await back_off.async_wait(quietly);
    }
  }
}

void UnixListener::close() {
  if (!acceptor_.is_open()) {
    return;
  }
  struct stat status {};
  if (!inherited_ && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
      status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  boost::system::error_code ignored;
  acceptor_.close(ignored);
}

}  // namespace condensed::daemon
