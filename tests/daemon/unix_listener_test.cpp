#include "daemon/unix_listener.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::daemon {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using testing::HasSubstr;

class UnixListenerTest : public testing::Test {
 protected:
  UnixListenerTest() { std::filesystem::create_directories(folder_); }
  ~UnixListenerTest() override { std::filesystem::remove_all(folder_); }

  std::string error_of(const std::string& path) {
    try {
      UnixListener listener(io_, path, 0600);
    } catch (const engine::InputError& error) {
      return error.what();
    }
    return "no error";
  }

  /// A socket in the file system that nobody serves.
  void leave_stale_socket() { Protocol::acceptor dead(io_, Protocol::endpoint(path_)); }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("condensed-listener-" + std::to_string(::getpid()));
  std::string path_ = (folder_ / "s.sock").string();
  asio::io_context io_;
};

TEST_F(UnixListenerTest, HasThePermissionsAndRemovesItsPath) {
  {
    UnixListener listener(io_, path_, 0640);
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0640));
    Protocol::socket client(io_);
    client.connect(Protocol::endpoint(path_));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, LeavesALivingDaemonAlone) {
  UnixListener listener(io_, path_, 0600);
  EXPECT_THAT(error_of(path_), HasSubstr("another daemon serves it; stop that one"));
  Protocol::socket client(io_);
  EXPECT_NO_THROW(client.connect(Protocol::endpoint(path_)));
}

TEST_F(UnixListenerTest, ADaemonWithAFullQueueIsAlive) {
  Protocol::acceptor busy(io_);
  busy.open();
  busy.bind(Protocol::endpoint(path_));
  busy.listen(0);
  Protocol::socket waiting(io_);
  waiting.connect(Protocol::endpoint(path_));
  EXPECT_THAT(error_of(path_), HasSubstr("another daemon serves it; stop that one"));
}

TEST_F(UnixListenerTest, ReplacesAStaleSocket) {
  leave_stale_socket();
  ASSERT_TRUE(std::filesystem::is_socket(path_));
  UnixListener listener(io_, path_, 0600);
  Protocol::socket client(io_);
  EXPECT_NO_THROW(client.connect(Protocol::endpoint(path_)));
}

TEST_F(UnixListenerTest, KeepsAFileThatIsNoSocket) {
  std::ofstream(path_) << "precious";
  EXPECT_THAT(error_of(path_), HasSubstr("not a socket"));
  EXPECT_TRUE(std::filesystem::is_regular_file(path_));
}

TEST_F(UnixListenerTest, DoesNotRemoveWhatSomebodyElsePutThere) {
  {
    UnixListener listener(io_, path_, 0600);
    std::filesystem::rename(path_, path_ + ".moved");
    leave_stale_socket();
  }
  EXPECT_TRUE(std::filesystem::is_socket(path_));
}

TEST_F(UnixListenerTest, SaysWhyAPathCannotBeUsed) {
  EXPECT_THAT(error_of((folder_ / "none" / "s.sock").string()), HasSubstr("does not exist; create it"));
  EXPECT_THAT(error_of("/" + std::string(200, 'x')), HasSubstr("201 bytes, at most 107"));
}

}  // namespace
}  // namespace condensed::daemon
