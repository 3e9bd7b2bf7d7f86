#include "daemon/inherited_sockets.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/unix_listener.h"
#include "engine/input_error.h"

namespace condensed::daemon {
namespace {

using Protocol = boost::asio::local::stream_protocol;
using testing::ElementsAre;
using testing::HasSubstr;

bool open_in_this_process(int descriptor) {
  return ::fcntl(descriptor, F_GETFD) >= 0;
}

class InheritedSocketsTest : public testing::Test {
 public:
  InheritedSocketsTest() { std::filesystem::create_directories(folder_); }
  ~InheritedSocketsTest() override { std::filesystem::remove_all(folder_); }

 protected:
  /// A socket as a service manager makes it; the caller owns it.
  int listening(const std::string& name) {
    const int descriptor = bound(name);
    EXPECT_EQ(::listen(descriptor, 5), 0);
    return descriptor;
  }
  int bound(const std::string& name) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path(name).copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return descriptor;
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  static std::string error_of(std::vector<std::pair<int, std::string>> descriptors) {
    try {
      const InheritedSockets sockets(std::move(descriptors));
    } catch (const engine::InputError& error) {
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("condensed-inherited-" + std::to_string(::getpid()));
  boost::asio::io_context io_;
};

TEST_F(InheritedSocketsTest, AreFoundByName) {
  const int protocol = listening("a");
  const int metrics = listening("b");
  {
    InheritedSockets sockets({{protocol, "condensed.socket"}, {metrics, "condensed-metrics.socket"}});
    EXPECT_EQ(sockets.take(InheritedSockets::kProtocol), protocol);
    EXPECT_EQ(sockets.take(InheritedSockets::kProtocol), std::nullopt);
    EXPECT_THAT(sockets.names(), ElementsAre("condensed-metrics.socket"));
  }
  EXPECT_TRUE(open_in_this_process(protocol));  // whoever took it has it
  EXPECT_FALSE(open_in_this_process(metrics));
  ::close(protocol);
}

TEST_F(InheritedSocketsTest, ASingleOneNeedsNoName) {
  for (const char* name : {"", "unknown"}) {
    const int descriptor = listening(std::string("s") + name);
    InheritedSockets sockets({{descriptor, name}});
    EXPECT_EQ(sockets.take(InheritedSockets::kProtocol), descriptor);
    ::close(descriptor);
  }
}

TEST_F(InheritedSocketsTest, MustBeListeningUnixStreams) {
  EXPECT_THAT(
      error_of({{bound("a"), "condensed.socket"}}),
      AllOf(HasSubstr("condensed.socket"), HasSubstr("found a Unix stream socket that does not listen")));
  EXPECT_THAT(error_of({{::socket(AF_UNIX, SOCK_DGRAM, 0), "x"}}), HasSubstr("of another type"));
  EXPECT_THAT(error_of({{::socket(AF_INET, SOCK_STREAM, 0), "x"}}), HasSubstr("another address family"));
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  EXPECT_THAT(error_of({{pipe[0], "x"}}), HasSubstr("expected a listening Unix stream socket"));
  EXPECT_FALSE(open_in_this_process(pipe[0]));
  ::close(pipe[1]);
}

TEST_F(InheritedSocketsTest, MustHaveNamesOfTheirOwn) {
  EXPECT_THAT(error_of({{listening("a"), "x"}, {listening("b"), "x"}}),
              HasSubstr("several inherited sockets are named x"));
}

TEST_F(InheritedSocketsTest, TheListenerServesAndNeverRemovesThePath) {
  {
    UnixListener listener(io_, listening("a"));
    EXPECT_TRUE(listener.inherited());
    EXPECT_EQ(listener.path(), path("a"));
    Protocol::socket client(io_);
    client.connect(Protocol::endpoint(path("a")));
    EXPECT_TRUE(listener.acceptor().accept().is_open());
    listener.close();
    EXPECT_FALSE(listener.acceptor().is_open());
  }
  EXPECT_TRUE(std::filesystem::is_socket(path("a")));
}

}  // namespace
}  // namespace condensed::daemon
