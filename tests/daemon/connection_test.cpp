#include "daemon/connection.h"

#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/descriptor_limit.h"
#include "daemon/episode.h"

namespace condensed::daemon {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using testing::ElementsAre;

/// A connection over a socket pair, everything run by hand on this thread.
class ConnectionTest : public testing::Test {
 protected:
  void connect(std::chrono::milliseconds stall_timeout = 0ms) {
    Connection::Socket near_end(io_);
    asio::local::connect_pair(near_end, client_);
    client_.non_blocking(true);
    near_end.set_option(asio::socket_base::send_buffer_size(1));  // the kernel keeps as little as it can
    connection_ =
        std::make_shared<Connection>(std::move(near_end), 1,
                                     Connection::Limits{.max_line_bytes = 100,
                                                        .send_buffer_bytes = 1000,
                                                        .max_requests_in_flight = 4,
                                                        .stall_timeout = stall_timeout},
                                     Connection::Handlers{.on_line =
                                                              [this](const auto&, std::string_view line) {
                                                                lines_.emplace_back(line);
                                                                if (on_line_) on_line_();
                                                              },
                                                          .on_drained = [](const auto&) {},
                                                          .on_closed = [this](const auto&) { ++closed_; }});
    connection_->start();
  }

  void write(const std::string& text) {
    asio::write(client_, asio::buffer(text));
    run();
  }

  /// Reads all there is.
  std::size_t read() {
    std::size_t total = 0;
    std::vector<char> buffer(65536);
    boost::system::error_code error;
    while (!error) {
      total += client_.read_some(asio::buffer(buffer), error);
      run();
    }
    return total;
  }

  void run() {
    io_.restart();
    io_.poll();
  }

  void congest() {
    while (!connection_->congested()) {
      connection_->send(std::string(500, 'x'));
      run();
    }
  }

  asio::io_context io_;
  Connection::Socket client_{io_};
  std::shared_ptr<Connection> connection_;
  std::vector<std::string> lines_;
  std::function<void()> on_line_;
  int closed_ = 0;
};

TEST_F(ConnectionTest, AClientThatTakesNothingIsCutOff) {
  connect(1ms);
  congest();
  io_.restart();
  while (connection_->open() && io_.run_one() > 0) {
  }
  EXPECT_FALSE(connection_->open());
  EXPECT_EQ(closed_, 1);
}

TEST_F(ConnectionTest, AClientWithNothingToReadIsNotCutOff) {
  connect(1ms);
  connection_->send(std::string(10, 'x'));
  EXPECT_EQ(read(), 10U);
  io_.restart();
  io_.run_for(5ms);  // the timer set for the event comes and finds nothing unsent
  EXPECT_TRUE(connection_->open());
}

TEST_F(ConnectionTest, WithoutATimeoutNobodyIsCutOff) {
  connect(0ms);
  congest();
  io_.restart();
  io_.run_for(5ms);
  EXPECT_TRUE(connection_->open());
  EXPECT_GT(read(), 1000U);
  EXPECT_FALSE(connection_->congested());
}

TEST_F(ConnectionTest, LinesThatHaveArrivedWaitUntilTheClientReads) {
  connect();
  on_line_ = [this] { congest(); };
  write("one\ntwo\r\n\nthree");
  EXPECT_THAT(lines_, ElementsAre("one"));
  write("\nfour\n");
  EXPECT_THAT(lines_, ElementsAre("one"));
  on_line_ = nullptr;
  read();
  EXPECT_THAT(lines_, ElementsAre("one", "two", "three", "four"));
}

TEST_F(ConnectionTest, NothingIsReadBeforeALargeAnswerIsThere) {
  connect();
  on_line_ = [this] { connection_->begin_large_answer(); };
  write("one\ntwo\nthree\n");
  EXPECT_THAT(lines_, ElementsAre("one"));
  connection_->end_large_answer();
  run();
  EXPECT_THAT(lines_, ElementsAre("one", "two"));
  on_line_ = nullptr;
  connection_->end_large_answer();
  run();
  EXPECT_THAT(lines_, ElementsAre("one", "two", "three"));
}

TEST_F(ConnectionTest, TheEndOfTheInputWaitsForTheLinesBeforeIt) {
  connect();
  on_line_ = [this] { connection_->begin_large_answer(); };
  write("one\ntwo\n");
  client_.shutdown(Connection::Socket::shutdown_send);
  run();
  on_line_ = nullptr;
  EXPECT_TRUE(connection_->open());
  connection_->end_large_answer();
  run();
  EXPECT_THAT(lines_, ElementsAre("one", "two"));
  EXPECT_FALSE(connection_->open());  // all is answered
}

TEST(Episode, BeginsOnceUntilItHasBeenQuiet) {
  Episode episode(10s);
  const Episode::Clock::time_point start{};
  EXPECT_TRUE(episode.begins(start));
  EXPECT_FALSE(episode.begins(start + 10s));
  EXPECT_FALSE(episode.begins(start + 20s));
  EXPECT_TRUE(episode.begins(start + 31s));
}

TEST(DescriptorLimit, FitsAFewConnectionsAndNotAllTheWorldS) {
  EXPECT_EQ(provide_descriptors(1), 1);
  EXPECT_LT(provide_descriptors(std::int64_t{1} << 40), std::int64_t{1} << 40);
}

}  // namespace
}  // namespace condensed::daemon
