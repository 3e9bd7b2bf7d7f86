// Sessions on disk when requests, saves and the end of the engine meet.

#include <array>
#include <chrono>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/engine_calls.h"
#include "tests/engine/scratch_folder.h"

namespace condensed::engine {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// Holds the engine's thread, so that what is asked meanwhile is carried out together.
class Hold {
 public:
  explicit Hold(Engine& engine) {
    auto held = std::make_shared<std::promise<void>>();
    engine.stat_engine([held, go_on = go_on_.get_future().share()](const auto&) {
      held->set_value();
      go_on.wait();
    });
    held->get_future().wait();
  }
  void release() { go_on_.set_value(); }

 private:
  std::promise<void> go_on_;
};

template <typename T>
class Answer {
 public:
  Reply<T> reply() {
    return [promise = promise_](std::variant<T, Error> result) { promise->set_value(std::move(result)); };
  }
  /// Nothing: none came, however long one waits.
  std::optional<std::variant<T, Error>> get() {
    auto future = promise_->get_future();
    if (future.wait_for(std::chrono::minutes(2)) != std::future_status::ready) {
      return std::nullopt;
    }
    return future.get();
  }

 private:
  std::shared_ptr<std::promise<std::variant<T, Error>>> promise_ =
      std::make_shared<std::promise<std::variant<T, Error>>>();
};

const std::string kPrompt = "It was a dark and stormy night, and the captain";

TEST(SessionSaving, ASaveAskedForDuringAnotherIsAnsweredThoughTheSessionLeavesMemory) {
  const ScratchFolder folder;
  EngineOptions options = options_with(folder);
  options.max_resident_sessions = 1;
  Engine engine(small_model(), options);
  value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
  Hold hold(engine);
  std::array<Answer<SavedSnapshot>, 3> saves;
  for (Answer<SavedSnapshot>& save : saves) {
    engine.save({.name = "a"}, save.reply());
  }
  Answer<SessionInfo> opened;
  engine.open({.session = {.name = "b"}}, opened.reply());
  hold.release();
  for (Answer<SavedSnapshot>& save : saves) {
    const auto answer = save.get();
    ASSERT_TRUE(answer.has_value());
    value(*answer);
  }
  ASSERT_TRUE(opened.get().has_value());
}

TEST(SessionSaving, AnImportThatComesWithTheEndIsKeptOrRefused) {
  for (const std::int64_t max_resident : {1, 10}) {
    const ScratchFolder folder;
    EngineOptions options = options_with(folder);
    options.max_resident_sessions = max_resident;
    std::optional<std::variant<SessionInfo, Error>> answer;
    {
      Engine engine(small_model(), options);
      value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
      const ExportedSession exported = value(export_session(engine, "a"));
      Hold hold(engine);
      Answer<SessionInfo> imported;
      engine.import_session({.name = "b"}, exported.file, imported.reply());
      std::thread stopper([&] { engine.shutdown(); });
      for (bool ending = false; !ending;) {  // what is refused now is refused on this thread, at once
        auto refused = std::make_shared<std::atomic<bool>>(false);
        engine.stat({.name = "a"},
                    [refused](const auto& result) { *refused = std::holds_alternative<Error>(result); });
        ending = *refused;
      }
      hold.release();
      stopper.join();
      answer = imported.get();
      ASSERT_TRUE(answer.has_value()) << "after shutdown() every reply has been called";
    }
    Engine engine(small_model(), options);
    const bool there = std::holds_alternative<SessionInfo>(stat(engine, "b"));
    EXPECT_EQ(there, std::holds_alternative<SessionInfo>(*answer));
  }
}

TEST(SessionSaving, ManySavesThatFailTogetherAreOneMessage) {
  struct Failures : EngineObserver {
    std::atomic<int> n = 0;
    void on_snapshot_failed() override { ++n; }
  } failures;
  const ScratchFolder folder;
  std::atomic<int> warnings = 0;
  EngineOptions options = options_with(folder);
  options.observer = &failures;
  options.warn = [&](const std::string&) { ++warnings; };
  Engine engine(small_model(), options);
  constexpr int n_sessions = 30;
  for (int i = 0; i < n_sessions; ++i) {
    value(open(engine, {.session = {.name = "s" + std::to_string(i)}, .input = std::string("Once")}));
  }
  fs::rename(folder.path() / "sessions", folder.path() / "elsewhere");
  options.snapshots = parse_snapshot_policy("on_idle=1");
  engine.set_limits(options);
  while (failures.n < n_sessions) {
    std::this_thread::yield();
  }
  EXPECT_LT(warnings, n_sessions / 3);
  fs::rename(folder.path() / "elsewhere", folder.path() / "sessions");
  for (int i = 0; i < n_sessions; ++i) {  // none was lost, and all come to rest on disk by themselves
    while (!value(stat(engine, "s" + std::to_string(i))).saved_position) {
      std::this_thread::yield();
    }
  }
}

TEST(SessionSaving, AFileThatCouldNotBeRemovedGoesWithTheNextSessionOfItsName) {
  const ScratchFolder folder;
  const fs::path file = folder.path() / "sessions" / "0.a.snapshot";
  Engine engine(small_model(), options_with(folder));
  value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
  value(save(engine, "a"));
  fs::rename(file, folder.path() / "kept");
  fs::create_directories(file / "in the way");
  EXPECT_THAT(error(close(engine, "a")).message, HasSubstr("its file stays"));
  fs::remove_all(file);
  fs::rename(folder.path() / "kept", file);
  value(open(engine, {.session = {.name = "a"}}));
  value(close(engine, "a"));
  EXPECT_FALSE(fs::exists(file));
}

/// Sends anything at any time; counts what is not answered yet.
class Crowd {
 public:
  explicit Crowd(Engine& engine) : engine_(engine) {}

  template <typename T>
  Reply<T> reply() {
    ++asked_;
    auto times = std::make_shared<std::atomic<int>>(0);
    return [this, times](const std::variant<T, Error>&) {
      EXPECT_EQ(++*times, 1) << "answered twice";
      ++answered_;
    };
  }
  std::int64_t unanswered() const { return asked_ - answered_; }

  void ask(std::mt19937& random) {
    const auto name = [&] { return "s" + std::to_string(random() % 8); };
    const SessionId session{.name = name()};
    switch (random() % 12) {
      case 0:
      case 1:
        return engine_.open({.session = session, .input = std::string("Chapter one. ")},
                            reply<SessionInfo>());
      case 2:
        return engine_.open({.session = session}, reply<SessionInfo>());
      case 3:
        return engine_.append(session, std::string(1 + random() % 60, 'x'), reply<AppendResult>());
      case 4:
      case 5:
        return engine_.generate(greedy(session.name, 1 + random() % 20), std::make_shared<Collector>(),
                                reply<SessionInfo>());
      case 6:
        return engine_.cancel(session, reply<SessionInfo>());
      case 7:
        return engine_.close(session, reply<SessionInfo>());
      case 8:
        return engine_.save(session, reply<SavedSnapshot>());
      case 9:
        return engine_.fork(session, name(), reply<SessionInfo>());
      case 10:
        return engine_.rename(session, name(), reply<SessionInfo>());
      default:
        return engine_.undo(session, random() % 4, reply<SessionInfo>());
    }
  }

 private:
  Engine& engine_;
  std::atomic<std::int64_t> asked_ = 0;
  std::atomic<std::int64_t> answered_ = 0;
};

TEST(SessionSaving, WhateverIsAskedTogetherIsAnsweredOnce) {
  for (const char* policy : {"never", "on_append,every_tokens=5", "on_idle=0"}) {
    const ScratchFolder folder;
    EngineOptions options = options_with(folder);
    options.snapshots = parse_snapshot_policy(policy);
    options.max_resident_sessions = 3;
    options.hibernate_after = std::chrono::milliseconds(1);
    std::optional<Engine> engine(std::in_place, small_model(), options);
    Crowd crowd(*engine);
    const auto ask_much = [&](unsigned seed, int n) {
      std::mt19937 random(seed);
      for (int i = 0; i < n; ++i) {
        crowd.ask(random);
        if (random() % 50 == 0) {
          value(wait_for<EngineInfo>([&](auto reply) { engine->stat_engine(reply); }));
        }
      }
    };
    {
      std::jthread other([&] { ask_much(2, 400); });
      ask_much(1, 400);
    }
    for (const SessionInfo& info :
         value(wait_for<std::vector<SessionInfo>>([&](auto reply) { engine->list(std::nullopt, reply); }))) {
      close(*engine, info.session.name);
    }
    // No memory stays taken: as many as there is room for are in memory at once.
    options.hibernate_after = std::chrono::milliseconds(0);
    engine->set_limits(options);
    for (const char* name : {"x", "y", "z"}) {
      value(open(*engine, {.session = {.name = name}}));
    }
    const EngineInfo info = value(wait_for<EngineInfo>([&](auto reply) { engine->stat_engine(reply); }));
    EXPECT_EQ(info.sessions - info.asleep, 3);
    ask_much(3, 200);
    engine.reset();
    EXPECT_EQ(crowd.unanswered(), 0) << policy;
    for (const auto& file : fs::directory_iterator(folder.path() / "sessions")) {
      EXPECT_EQ(file.path().extension(), ".snapshot");
    }
    const Engine again(small_model(), options);
    EXPECT_TRUE(fs::is_empty(folder.path() / "set-aside"));
  }
}

}  // namespace
}  // namespace condensed::engine
