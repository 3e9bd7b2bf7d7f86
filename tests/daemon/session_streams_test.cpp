#include "daemon/session_streams.h"

#include <string>
#include <vector>

#include <boost/asio.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::daemon {
namespace {

namespace asio = boost::asio;
using testing::ElementsAre;

constexpr std::size_t kBuffer = 1000;

const engine::SessionId kSession{.user = 1000, .name = "s"};

/// Connections over socket pairs, a session "s", and everything run by hand on this thread.
class SessionStreamsTest : public testing::Test {
 protected:
  struct Client {
    std::shared_ptr<Connection> connection;
    Connection::Socket far_end;
  };

  Client connect() {
    Connection::Socket near_end(io_);
    Connection::Socket far_end(io_);
    asio::local::connect_pair(near_end, far_end);
    far_end.non_blocking(true);
    // A small kernel buffer, so that what is not read soon waits in the connection.
    near_end.set_option(asio::socket_base::send_buffer_size(1));
    return {std::make_shared<Connection>(
                std::move(near_end), 1,
                Connection::Limits{
                    .max_line_bytes = 1000, .send_buffer_bytes = kBuffer, .max_requests_in_flight = 4},
                Connection::Handlers{
                    .on_line = [](const auto&, auto) {},
                    .on_drained = [this](const auto& drained) { streams_.drained(drained); },
                    .on_closed = [this](const auto& closed) { dropped_ = streams_.drop(closed); }}),
            std::move(far_end)};
  }

  /// A generation of "s" that `pacer` asked for.
  std::shared_ptr<PacedStream> begin(const Client& pacer, const std::string& id = "", bool detached = false) {
    auto stream = std::make_shared<PacedStream>(
        kSession, kBuffer,
        [this](const auto& from, const StreamEvent& event, bool done) {
          streams_.deliver(from, event, done);
        },
        [this] { ++wakes_; });
    streams_.begin(stream, pacer.connection, id, detached);
    return stream;
  }

  void run() {
    io_.restart();
    io_.poll();
  }

  void token(PacedStream& stream) {
    stream.on_token({.token = 1, .position = position_++, .text = "t"});
    run();
  }
  void done(PacedStream& stream) {
    stream.on_done({.position = position_});
    run();
  }
  void attach_from(const Client& client, std::int64_t position) {
    streams_.attach_from(kSession, client.connection, position,
                         [](std::int64_t n) { return "attached, " + std::to_string(n) + " follow\n"; });
    run();
  }

  /// Reads all there is.
  std::string read(Client& client) {
    std::string out;
    std::vector<char> buffer(65536);
    for (;;) {
      boost::system::error_code error;
      const std::size_t n = client.far_end.read_some(asio::buffer(buffer), error);
      if (error) {
        return out;
      }
      out.append(buffer.data(), n);
      run();
    }
  }

  /// Tokens until the client, which does not read, has too much unsent.
  void congest(PacedStream& stream, const Client& client) {
    for (int i = 0; i < 1000 && !client.connection->congested(); ++i) {
      token(stream);
    }
    ASSERT_TRUE(client.connection->congested());
  }

  /// As the engine would: tokens as long as they are accepted.
  int generate(PacedStream& stream, int most) {
    int n = 0;
    for (; n < most && stream.accepts_token(); ++n) {
      token(stream);
    }
    return n;
  }

  asio::io_context io_;
  SessionStreams streams_{{.session_bytes = 4096, .total_bytes = 16384}};
  std::vector<engine::SessionId> dropped_;
  int wakes_ = 0;
  std::int64_t position_ = 0;  // of the next token
};

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++n;
  }
  return n;
}

TEST_F(SessionStreamsTest, OnlyTheOneThatAskedGetsTheId) {
  Client asker = connect();
  Client watcher = connect();
  streams_.attach(kSession, watcher.connection);
  const auto stream = begin(asker, "7");
  EXPECT_EQ(streams_.attached_count(kSession), 2);
  token(*stream);
  done(*stream);
  const std::string asked = read(asker);
  EXPECT_EQ(count(asked, "\"id\":7,\"event\":\"token\""), 1);
  EXPECT_EQ(count(asked, "\"id\":7,\"event\":\"done\""), 1);
  const std::string watched = read(watcher);
  EXPECT_EQ(count(watched, "\n"), 2);
  EXPECT_EQ(count(watched, "\"id\""), 0);
}

TEST_F(SessionStreamsTest, AttachingTwiceCountsOnce) {
  Client client = connect();
  streams_.attach(kSession, client.connection);
  streams_.attach(kSession, client.connection);
  EXPECT_EQ(streams_.attached_count(kSession), 1);
  streams_.detach(kSession, client.connection);
  EXPECT_EQ(streams_.attached_count(kSession), 0);
  streams_.detach(kSession, client.connection);
  EXPECT_EQ(streams_.attached_count(kSession), 0);
}

TEST_F(SessionStreamsTest, APacerThatDoesNotReadStopsItsGenerationUntilItHasRead) {
  Client pacer = connect();
  const auto stream = begin(pacer);
  const int n_before = generate(*stream, 1000);
  EXPECT_LT(n_before, 1000);
  EXPECT_FALSE(stream->accepts_token());
  EXPECT_EQ(wakes_, 0);
  EXPECT_EQ(count(read(pacer), "\"token\":"), n_before);
  EXPECT_TRUE(stream->accepts_token());
  EXPECT_GE(wakes_, 1);
  EXPECT_GT(generate(*stream, 1000), 0);
}

TEST_F(SessionStreamsTest, OneCongestedConnectionHoldsAllItPacesAndNothingElse) {
  Client pacer = connect();
  Client other = connect();
  const auto stream = begin(pacer);
  auto second = std::make_shared<PacedStream>(
      engine::SessionId{.name = "second"}, kBuffer,
      [this](const auto& from, const StreamEvent& event, bool is_done) {
        streams_.deliver(from, event, is_done);
      },
      [] {});
  streams_.begin(second, other.connection, "");
  congest(*stream, pacer);
  EXPECT_FALSE(stream->accepts_token());
  EXPECT_TRUE(second->accepts_token());
  streams_.detach(engine::SessionId{.name = "second"}, other.connection);
  streams_.begin(second, pacer.connection, "");
  EXPECT_FALSE(second->accepts_token());
  read(pacer);
  EXPECT_TRUE(second->accepts_token());
}

TEST_F(SessionStreamsTest, ASlowWatcherMissesTokensAndIsToldBeforeTheNextEvent) {
  Client pacer = connect();
  Client watcher = connect();
  streams_.attach(kSession, watcher.connection);
  const auto stream = begin(pacer);
  int n = 0;
  for (; n < 200; ++n) {
    EXPECT_TRUE(stream->accepts_token());
    token(*stream);
    read(pacer);
  }
  std::string seen = read(watcher);
  const int n_seen = count(seen, "\"token\":");
  EXPECT_LT(n_seen, n);
  EXPECT_EQ(count(seen, "lagged"), 0);
  token(*stream);
  seen = read(watcher);
  const std::size_t lagged =
      seen.find("\"lagged\",\"session\":\"s\",\"missed\":" + std::to_string(n - n_seen));
  ASSERT_NE(lagged, std::string::npos) << seen;
  EXPECT_LT(lagged, seen.find("\"token\":"));
}

TEST_F(SessionStreamsTest, ACongestedWatcherStillGetsDoneAndClosed) {
  Client pacer = connect();
  Client watcher = connect();
  streams_.attach(kSession, watcher.connection);
  const auto stream = begin(pacer);
  for (int i = 0; i < 200; ++i) {
    token(*stream);
    read(pacer);
  }
  done(*stream);
  streams_.closed(kSession, pacer.connection, "{\"event\":\"closed\"}\n");
  const std::string seen = read(watcher);
  EXPECT_EQ(count(seen, "\"lagged\""), 1);
  EXPECT_LT(seen.find("\"lagged\""), seen.find("\"done\""));
  EXPECT_LT(seen.find("\"done\""), seen.find("\"closed\""));
  EXPECT_EQ(count(read(pacer), "\"closed\""), 0);
  EXPECT_EQ(streams_.attached_count(kSession), 0);
}

TEST_F(SessionStreamsTest, AWatcherThatNeverReadsIsCutOffAtABound) {
  Client pacer = connect();
  Client watcher = connect();
  streams_.attach(kSession, watcher.connection);
  for (int i = 0; i < 1000 && watcher.connection->open(); ++i) {
    done(*begin(pacer));
    read(pacer);
  }
  EXPECT_FALSE(watcher.connection->open());
  EXPECT_THAT(dropped_, ElementsAre(kSession));
  EXPECT_EQ(streams_.attached_count(kSession), 1);
}

TEST_F(SessionStreamsTest, TheLongestAttachedTakesOverWithoutTheId) {
  Client pacer = connect();
  Client first = connect();
  Client second = connect();
  const auto stream = begin(pacer, "7");
  streams_.attach(kSession, first.connection);
  streams_.attach(kSession, second.connection);
  congest(*stream, pacer);
  EXPECT_FALSE(stream->accepts_token());
  pacer.connection->close();
  run();
  EXPECT_THAT(dropped_, ElementsAre(kSession));
  EXPECT_FALSE(streams_.unheard(kSession));
  read(first);
  read(second);
  EXPECT_TRUE(stream->accepts_token());
  token(*stream);
  EXPECT_EQ(count(read(first), "\"id\""), 0);
  // Now `first` paces: the other may be as slow as it likes.
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE(stream->accepts_token());
    token(*stream);
    read(first);
  }
  EXPECT_LT(generate(*stream, 1000), 1000);
}

TEST_F(SessionStreamsTest, AGenerationThatNobodyReceivesIsUnheard) {
  Client pacer = connect();
  const auto stream = begin(pacer);
  EXPECT_FALSE(streams_.unheard(kSession));
  streams_.detach(kSession, pacer.connection);
  EXPECT_TRUE(streams_.unheard(kSession));
  // Until the engine has ended it, what comes is dropped and holds nothing up.
  EXPECT_EQ(generate(*stream, 1000), 1000);
  done(*stream);
  EXPECT_FALSE(streams_.unheard(kSession));
  EXPECT_EQ(read(pacer), "");
}

TEST_F(SessionStreamsTest, ADetachedGenerationGoesOnWithNobodyAttached) {
  Client pacer = connect();
  const auto stream = begin(pacer, "7", /*detached=*/true);
  EXPECT_LT(generate(*stream, 1000), 1000);  // who asked for it paces it as ever
  pacer.connection->close();
  run();
  EXPECT_FALSE(streams_.unheard(kSession));
  EXPECT_EQ(generate(*stream, 1000), 1000);
  // Whoever comes back paces it.
  Client back = connect();
  streams_.attach(kSession, back.connection);
  EXPECT_LT(generate(*stream, 1000), 1000);
  read(back);
  done(*stream);
  EXPECT_EQ(count(read(back), "\"done\""), 1);
  // Only that generation was detached.
  begin(back);
  streams_.detach(kSession, back.connection);
  EXPECT_TRUE(streams_.unheard(kSession));
}

/// The positions of the events in the text.
std::vector<std::int64_t> positions(const std::string& text) {
  constexpr std::string_view kKey = "\"position\":";
  std::vector<std::int64_t> out;
  for (std::size_t at = text.find(kKey); at != std::string::npos; at = text.find(kKey, at + 1)) {
    out.push_back(std::stoll(text.substr(at + kKey.size())));
  }
  return out;
}

TEST_F(SessionStreamsTest, WhoComesBackGetsWhatItMissedAndThenTheStream) {
  Client first = connect();
  auto stream = begin(first, "7");
  for (int i = 0; i < 3; ++i) token(*stream);
  done(*stream);  // at position 3
  stream = begin(first, "8", /*detached=*/true);
  for (int i = 0; i < 2; ++i) token(*stream);
  first.connection->close();
  for (int i = 0; i < 2; ++i) token(*stream);
  Client back = connect();
  EXPECT_EQ(streams_.kept_from(kSession, position_), 0);
  attach_from(back, 2);
  for (int i = 0; i < 2; ++i) token(*stream);
  done(*stream);
  const std::string seen = read(back);
  EXPECT_EQ(seen.find("attached, 6 follow\n"), 0U) << seen;
  EXPECT_THAT(positions(seen), ElementsAre(2, 3, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(count(seen, "\"done\""), 2);
  EXPECT_EQ(count(seen, "\"id\""), 0);
}

TEST_F(SessionStreamsTest, ALaggingWatcherThatAsksAgainHasMissedNothing) {
  Client pacer = connect();
  Client watcher = connect();
  streams_.attach(kSession, watcher.connection);
  const auto stream = begin(pacer);
  for (int i = 0; i < 1000 && !watcher.connection->congested(); ++i) {
    token(*stream);
    read(pacer);
  }
  const std::int64_t first_missed = position_;
  for (int i = 0; i < 3; ++i) token(*stream);
  read(watcher);
  attach_from(watcher, first_missed);
  token(*stream);
  const std::string seen = read(watcher);
  EXPECT_EQ(count(seen, "lagged"), 0);
  EXPECT_THAT(positions(seen),
              ElementsAre(first_missed, first_missed + 1, first_missed + 2, first_missed + 3));
}

TEST_F(SessionStreamsTest, AClosedSessionIsNotReplayed) {
  Client client = connect();
  const auto stream = begin(client);
  token(*stream);
  done(*stream);
  EXPECT_EQ(streams_.kept_from(kSession, 1), 0);
  streams_.closed(kSession, client.connection, "closed\n");
  EXPECT_EQ(streams_.kept_from(kSession, 1), 1);
}

TEST_F(SessionStreamsTest, AGenerationWhoseAskerIsGoneGoesToAWatcherOrIsUnheard) {
  Client gone = connect();
  gone.connection->close();
  const auto stream = begin(gone, "7");
  EXPECT_TRUE(streams_.unheard(kSession));
  done(*stream);
  Client watcher = connect();
  streams_.attach(kSession, watcher.connection);
  const auto next = begin(gone, "8");
  EXPECT_FALSE(streams_.unheard(kSession));
  token(*next);
  EXPECT_EQ(count(read(watcher), "\"token\":"), 1);
}

TEST_F(SessionStreamsTest, AClientThatOnlyStoppedSendingGetsItsGenerationToTheEnd) {
  Client client = connect();
  client.connection->start();
  run();
  const auto stream = begin(client);
  client.far_end.shutdown(asio::socket_base::shutdown_send);
  run();
  EXPECT_TRUE(client.connection->open());
  token(*stream);
  done(*stream);
  run();
  EXPECT_FALSE(client.connection->open());
  EXPECT_EQ(count(read(client), "\n"), 2);
}

TEST_F(SessionStreamsTest, AClientThatIsGoneEndsItsConnection) {
  Client client = connect();
  client.connection->start();
  run();
  begin(client);
  client.far_end.close();
  run();
  EXPECT_FALSE(client.connection->open());
  EXPECT_TRUE(streams_.unheard(kSession));
}

TEST_F(SessionStreamsTest, AClientThatGoesAfterItStoppedSendingEndsItsConnection) {
  Client client = connect();
  client.connection->start();
  run();
  begin(client);
  client.far_end.shutdown(asio::socket_base::shutdown_send);
  run();
  client.far_end.close();
  run();
  EXPECT_FALSE(client.connection->open());
  EXPECT_TRUE(streams_.unheard(kSession));
}

}  // namespace
}  // namespace condensed::daemon
