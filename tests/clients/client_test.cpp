#include "clients/cpp/client.h"

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/clients/fake_daemon.h"

namespace condensed::client {
namespace {

namespace json = boost::json;

std::string id_of(const json::object& request) {
  return json::serialize(request.at("id"));
}

std::string token(const json::object& request, std::string_view text) {
  return R"({"event":"token","text":")" + std::string(text) + R"(","id":)" + id_of(request) + "}\n";
}

std::string answer(const json::object& request, std::string_view event) {
  return R"({"event":")" + std::string(event) + R"(","id":)" + id_of(request) + "}\n";
}

TEST(Client, SendsARequestAndReturnsItsAnswer) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object request = peer.read();
    EXPECT_EQ(request.at("op"), "stat");
    EXPECT_EQ(request.at("session"), "a");
    peer.write(R"({"event":"stat","position":7,"id":)" + id_of(request) + "}\n");
  });
  Client client(daemon.path());
  const Client::Event stat = client.call({{"op", "stat"}, {"session", "a"}});
  EXPECT_EQ(stat.at("event"), "stat");
  EXPECT_EQ(stat.at("position"), 7);
}

TEST(Client, AnErrorSaysWhichLimitItIsAndWhenToTryAgain) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const std::string error = R"({"event":"error","code":"c","message":"m",)";
    peer.write(error + R"("limit":"max_sessions","retry_after_ms":20,"id":)" + id_of(peer.read()) + "}\n");
    peer.write(error + R"("id":)" + id_of(peer.read()) + "}\n");
  });
  Client client(daemon.path());
  for (const bool limited : {true, false}) {
    try {
      client.call({{"op", "open"}});
      ADD_FAILURE();
    } catch (const RequestFailed& error) {
      EXPECT_EQ(error.code(), "c");
      EXPECT_EQ(error.what(), std::string("m"));
      EXPECT_EQ(error.limit(), limited ? "max_sessions" : "");
      EXPECT_EQ(error.retry_after().has_value(), limited);
      EXPECT_EQ(error.retry_after().value_or(std::chrono::milliseconds(20)).count(), 20);
    }
  }
}

TEST(Client, ADetachedGenerationHasBegunOrIsRefused) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    for (const bool refused : {false, true}) {
      const json::object generate = peer.read();
      EXPECT_EQ(generate.at("op"), "generate");
      EXPECT_EQ(generate.at("detached"), true);
      const json::object detach = peer.read();
      EXPECT_EQ(detach.at("op"), "detach");
      EXPECT_EQ(detach.at("session"), "s");
      peer.write(refused ? R"({"event":"error","code":"session_busy","message":"m","id":)" + id_of(generate) +
                               "}\n"
                         : token(generate, "a"));
      peer.write(answer(detach, "detached"));
    }
  });
  Client client(daemon.path());
  client.generate_detached({{"session", "s"}});
  EXPECT_THROW(client.generate_detached({{"session", "s"}}), RequestFailed);
}

TEST(Client, EventsMayComeInAnyPieces) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object first = peer.read();
    for (const char byte : answer(first, "pong")) peer.write(std::string(1, byte));
    const json::object second = peer.read();
    peer.write(token(second, "a") + token(second, "\xC3\xA9") + token(second, "\\n") +
               answer(second, "done"));
  });
  Client client(daemon.path());
  EXPECT_EQ(client.call({{"op", "ping"}}).at("event"), "pong");
  std::vector<std::string> texts;
  const auto done = client.generate({{"session", "s"}}, [&](const Client::Event& event) {
    texts.emplace_back(event.at("text").as_string());
  });
  EXPECT_EQ(done.at("event"), "done");
  EXPECT_THAT(texts, testing::ElementsAre("a", "\xC3\xA9", "\n"));
}

TEST(Client, EachRequestGetsItsOwnEvents) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object generate = peer.read();
    peer.write(token(generate, "1"));
    const json::object stat = peer.read();
    peer.write(token(generate, "2") + answer({{"id", 4711}}, "stray") + answer({{"id", "text"}}, "stray") +
               answer(stat, "stat") + token(generate, "3") + answer(generate, "done"));
  });
  Client client(daemon.path());
  std::string text;
  client.generate({{"session", "s"}}, [&](const Client::Event& event) {
    text += event.at("text").as_string();
    if (text == "1") {
      EXPECT_EQ(client.call({{"op", "stat"}}).at("event"), "stat");
    }
  });
  EXPECT_EQ(text, "123");
}

TEST(Client, EventsThatNobodyAskedForHaveTheirOwnHandler) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object request = peer.read();
    peer.write("{\"event\":\"lagged\",\"missed\":3}\n" + answer(request, "attached") +
               "{\"event\":\"bye\",\"reason\":\"shutdown\"}\n");
  });
  Client client(daemon.path());
  std::vector<std::string> unasked;
  std::vector<std::string> all;
  client.on_unasked([&](const Client::Event& event) { unasked.emplace_back(event.at("event").as_string()); });
  client.observe([&](const Client::Event& event) { all.emplace_back(event.at("event").as_string()); });
  client.call({{"op", "attach"}, {"session", "s"}});
  EXPECT_THAT(unasked, testing::ElementsAre("lagged"));
  client.watch([&] { return unasked.size() == 2; });
  EXPECT_THAT(unasked, testing::ElementsAre("lagged", "bye"));
  EXPECT_THAT(all, testing::ElementsAre("lagged", "attached", "bye"));
}

TEST(Client, ErrorsCarryTheirCode) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object request = peer.read();
    peer.write(R"({"event":"error","code":"unknown_session","message":"no session \"x\"","id":)" +
               id_of(request) + "}\n");
    peer.read();  // as when the line was too long to find its id
    peer.write("{\"event\":\"error\",\"code\":\"line_too_long\",\"message\":\"m\"}\n");
    peer.write(answer(peer.read(), "pong"));
  });
  Client client(daemon.path());
  for (const std::string code : {"unknown_session", "line_too_long"}) {
    try {
      client.call({{"op", "stat"}, {"session", "x"}});
      FAIL() << code;
    } catch (const RequestFailed& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_STREQ(error.what(), code == "line_too_long" ? "m" : "no session \"x\"");
    }
  }
  EXPECT_EQ(client.call({{"op", "ping"}}).at("event"), "pong");  // the connection is as good as before
}

TEST(Client, ARequestMayBeSentWhileAGenerationRuns) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object generate = peer.read();
    peer.write(token(generate, "x"));
    const json::object cancel = peer.read();
    EXPECT_EQ(cancel.at("op"), "cancel");
    peer.write(answer(generate, "done") + answer(cancel, "cancelled"));
    peer.write(answer(peer.read(), "pong"));
  });
  Client client(daemon.path());
  // As a signal handler would.
  boost::asio::post(client.io(), [&] { client.send({{"op", "cancel"}, {"session", "s"}}); });
  int n = 0;
  EXPECT_EQ(client.generate({{"session", "s"}}, [&](const Client::Event&) { ++n; }).at("event"), "done");
  EXPECT_EQ(n, 1);
  EXPECT_EQ(client.call({{"op", "ping"}}).at("event"), "pong");
}

TEST(Client, GoesOnAfterAHandlerHasThrown) {
  struct Thrown {};
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object first = peer.read();
    const json::object second = peer.read();
    peer.write(answer(first, "late") + answer(second, "pong"));
  });
  Client client(daemon.path());
  boost::asio::post(client.io(), [] { throw Thrown(); });
  EXPECT_THROW(client.call({{"op", "ping"}}), Thrown);
  EXPECT_EQ(client.call({{"op", "ping"}}).at("event"), "pong");
}

TEST(Client, AnAnswerThatComesTooLateIsDropped) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object first = peer.read();
    const json::object second = peer.read();
    peer.write(answer(first, "late") + answer(second, "pong"));
  });
  Client client(daemon.path());
  EXPECT_THROW(client.call({{"op", "ping"}}, std::chrono::milliseconds(1)), ConnectionLost);
  EXPECT_EQ(client.call({{"op", "ping"}}, std::chrono::minutes(1)).at("event"), "pong");
}

TEST(Client, ALostConnectionIsAnError) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const json::object request = peer.read();
    peer.write(token(request, "x") + "{\"event\":\"tok");
  });
  Client client(daemon.path());
  int n = 0;
  EXPECT_THROW(client.generate({{"session", "s"}}, [&](const Client::Event&) { ++n; }), ConnectionLost);
  EXPECT_EQ(n, 1);
  EXPECT_THROW(client.call({{"op", "ping"}}), ConnectionLost);
}

TEST(Client, WhatIsNoEventIsAnError) {
  for (const char* line : {"hello\n", "[1,2]\n", "\n"}) {
    FakeDaemon daemon([line](FakeDaemon::Peer& peer) {
      peer.read();
      peer.write(line);
    });
    Client client(daemon.path());
    EXPECT_THROW(client.call({{"op", "ping"}}), ConnectionLost) << line;
  }
}

TEST(Client, SaysWhereItCannotConnect) {
  for (const std::string& path : {std::string("/no/such/socket"), "/" + std::string(300, 'x')}) {
    EXPECT_THAT([&] { Client client(path); },
                testing::ThrowsMessage<ConnectionLost>(testing::HasSubstr(path)));
  }
}

TEST(Client, EveryRequestAboutSessionsNamesTheUser) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    for (const bool named : {true, true, true, false, false, false}) {
      const json::object request = peer.read();
      EXPECT_EQ(request.contains("user"), named) << request;
      EXPECT_TRUE(!named || request.at("user") == "alice");
      peer.write(answer(request, "x"));
    }
  });
  Client client(daemon.path());
  client.set_user("alice");
  client.call({{"op", "list"}});
  client.call({{"op", "open"}});
  client.call({{"op", "stat"}, {"session", "a"}});
  client.call({{"op", "stat"}});
  client.call({{"op", "ping"}});
  client.call({{"op", "metrics"}});
}

TEST(Client, ReceivesASessionsFileInParts) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    json::object request = peer.read();
    EXPECT_EQ(request.at("op"), "export");
    for (const char* data : {"AAEC", "/w=="}) {
      peer.write(R"({"event":"chunk","data":")" + std::string(data) + R"(","id":)" + id_of(request) + "}\n");
    }
    peer.write(answer(request, "exported"));
    request = peer.read();
    peer.write(R"({"event":"chunk","data":"AA=A","id":)" + id_of(request) + "}\n");
  });
  Client client(daemon.path());
  std::string file;
  const auto add = [&](std::string_view part) { file += part; };
  EXPECT_EQ(client.export_session("a", add).at("event"), "exported");
  EXPECT_EQ(file, std::string("\0\1\2\xFF", 4));
  EXPECT_THROW(client.export_session("a", add), ConnectionLost);
}

TEST(Client, SendsASessionsFileInParts) {
  FakeDaemon daemon([](FakeDaemon::Peer& peer) {
    const auto expect = [&](const char* data, bool more, const char* name) {
      const json::object request = peer.read();
      EXPECT_EQ(request.at("op"), "import");
      EXPECT_EQ(request.at("data"), data);
      EXPECT_EQ(request.at("more"), more);
      EXPECT_EQ(request.contains("session"), *name != '\0');
      peer.write(answer(request, more ? "importing" : "imported"));
    };
    expect("AP8=", true, "a");
    expect("eHl6", false, "a");
    expect("", false, "");
  });
  Client client(daemon.path());
  std::vector<std::string> parts{std::string("\0\xFF", 2), "xyz", ""};
  std::size_t next = 0;
  EXPECT_EQ(client.import_session("a", [&] { return parts.at(next++); }).at("event"), "imported");
  EXPECT_EQ(next, 3U);
  EXPECT_EQ(client.import_session("", [] { return std::string(); }).at("event"), "imported");
}

}  // namespace
}  // namespace condensed::client
