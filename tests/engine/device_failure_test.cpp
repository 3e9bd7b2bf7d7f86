// The device fails under a running engine: what becomes of generations and sessions, and that it goes on.

#include <atomic>
#include <utility>

#include <gmock/gmock.h>

#include "kernels/device_error.h"
#include "tests/engine/engine_calls.h"
#include "tests/kernels/forwarding_backend.h"

namespace condensed::engine {
namespace {

using kernels::DeviceError;
using testing::HasSubstr;

/// What goes wrong with devices; shared by those made one after the other.
struct Faults {
  std::atomic<std::int64_t> attends_left{-1};  // until one fails; below 0: none does
  std::atomic<std::int64_t> stores_left{-1};
  std::atomic<bool> forgets = false;  // with the failure the memory is gone: nothing can be downloaded
  std::atomic<int> made = 0;
  std::atomic<int> unmakeable = 0;  // attempts at making one that will fail
};

class FaultyBackend : public kernels::test::ForwardingBackend {
 public:
  explicit FaultyBackend(Faults& faults)
      : ForwardingBackend(kernels::make_backend("auto", 1)), faults_(faults) {
    ++faults.made;
  }

 private:
  void before(std::string_view operation) override {
    if (broken_ && (faults_.forgets || operation != "download")) {
      throw DeviceError("the device is lost");
    }
    if ((operation == "attend" && faults_.attends_left >= 0 && --faults_.attends_left < 0) ||
        (operation == "store_kv" && faults_.stores_left >= 0 && --faults_.stores_left < 0)) {
      broken_ = true;
      throw DeviceError("the launch failed");
    }
  }

  Faults& faults_;
  bool broken_ = false;
};

class DeviceFailure : public testing::Test {
 protected:
  std::unique_ptr<Engine> engine(EngineOptions options) {
    options.remake_backend = [this]() -> std::unique_ptr<kernels::Backend> {
      if (faults_.unmakeable > 0) {
        --faults_.unmakeable;
        throw DeviceError("there is no device");
      }
      return std::make_unique<FaultyBackend>(faults_);
    };
    options.restart_after = {std::chrono::milliseconds(0), std::chrono::milliseconds(1)};
    options.given_up = [this](const std::string& why) { given_up_.set_value(why); };
    options.went_back = [this](const SessionId& id) { went_back_.push_back(id.name); };
    return std::make_unique<Engine>(load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                                               std::make_unique<FaultyBackend>(faults_)),
                                    options);
  }
  /// Two sessions that have read the same.
  void open_sessions(Engine& engine) {
    for (const char* name : {"a", "b"}) {
      value(open(engine, {.session = {.name = name}, .input = "It was a dark and stormy night"}));
    }
  }
  std::shared_ptr<Collector> run(Engine& engine, GenerateRequest request) {
    auto collector = std::make_shared<Collector>();
    value(generate(engine, std::move(request), collector));
    return collector;
  }
  std::vector<std::int32_t> undisturbed() {
    const auto whole = engine(small_options());
    open_sessions(*whole);
    const auto collector = run(*whole, greedy("a", 100));
    collector->wait_done();
    return collector->ids();
  }

  Faults faults_;
  std::promise<std::string> given_up_;
  std::vector<std::string> went_back_;  // of the engine's thread; looked at when that has ended
};

TEST_F(DeviceFailure, AGenerationGoesOnWhereItsSessionCouldBeCopied) {
  const auto expected = undisturbed();
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  const int made = faults_.made;
  faults_.attends_left = 200;  // several in each step
  const auto first = run(*engine, greedy("a", 100));
  const GenerationSummary summary = first->wait_done();
  EXPECT_EQ(summary.reason, FinishReason::failed);
  EXPECT_TRUE(summary.resumable);
  EXPECT_THAT(summary.message, HasSubstr("the launch failed"));
  EXPECT_THAT(summary.message, HasSubstr("session 'a': it stays as it is, at position"));
  EXPECT_LT(first->ids().size(), 100U);

  GenerateRequest resume = greedy("a", 0);
  resume.resume = true;
  const auto second = run(*engine, resume);
  EXPECT_EQ(second->wait_done().reason, FinishReason::length);
  std::vector<std::int32_t> ids = first->ids();
  for (const std::int32_t id : second->ids()) ids.push_back(id);
  EXPECT_EQ(ids, expected);
  // The one that rested is as it was, too.
  const auto other = run(*engine, greedy("b", 100));
  other->wait_done();
  EXPECT_EQ(other->ids(), expected);
  EXPECT_EQ(faults_.made, made + 1);
  engine->shutdown();
  EXPECT_TRUE(went_back_.empty());
}

TEST_F(DeviceFailure, SessionsWhoseMemoryIsLostGoBackToTheirFiles) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  const auto engine = this->engine(options_with(folder));
  open_sessions(*engine);
  value(open(*engine, {.session = {.name = "unsaved"}, .input = "Once upon a time"}));
  const std::int64_t saved_at = value(save(*engine, "a")).position;
  value(save(*engine, "b"));
  faults_.forgets = true;
  faults_.attends_left = 200;
  const auto first = run(*engine, greedy("a", 100));
  const GenerationSummary summary = first->wait_done();
  EXPECT_EQ(summary.reason, FinishReason::failed);
  EXPECT_FALSE(summary.resumable);
  EXPECT_THAT(summary.message, HasSubstr("goes back to its file, at position " + std::to_string(saved_at)));

  EXPECT_EQ(value(stat(*engine, "a")).position, saved_at);
  EXPECT_TRUE(value(stat(*engine, "a")).asleep);
  for (const char* name : {"a", "b"}) {
    const auto again = run(*engine, greedy(name, 100));
    again->wait_done();
    EXPECT_EQ(again->ids(), expected) << name;
  }
  EXPECT_EQ(error(stat(*engine, "unsaved")).code, ErrorCode::unknown_session);
  engine->shutdown();
  EXPECT_THAT(went_back_, testing::UnorderedElementsAre("a", "b", "unsaved"));
}

TEST_F(DeviceFailure, WhatRanWhileTokensJoinedCachesIsNotTrusted) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  const auto engine = this->engine(options_with(folder));
  open_sessions(*engine);
  value(save(*engine, "a"));
  faults_.stores_left = 50;
  EXPECT_FALSE(run(*engine, greedy("a", 100))->wait_done().resumable);
  for (const char* name : {"a", "b"}) {  // b was at rest, and is copied though it has no file
    const auto again = run(*engine, greedy(name, 100));
    again->wait_done();
    EXPECT_EQ(again->ids(), expected) << name;
  }
  engine->shutdown();
  EXPECT_THAT(went_back_, testing::ElementsAre("a"));
}

TEST_F(DeviceFailure, AnInputThatWaitsIsRefusedAndWhatWasReadStays) {
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  faults_.attends_left = 300;
  const auto appended = append(*engine, "a", std::vector<std::int32_t>(400, 17));
  EXPECT_EQ(error(appended).code, ErrorCode::device_failed);
  EXPECT_TRUE(error(appended).retry_after_ms.has_value());
  EXPECT_EQ(value(append(*engine, "a", "more")).session.name, "a");
}

TEST_F(DeviceFailure, ADeviceThatIsLateIsWaitedFor) {
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  faults_.unmakeable = 1;
  faults_.attends_left = 200;
  EXPECT_TRUE(run(*engine, greedy("a", 100))->wait_done().resumable);
  EXPECT_EQ(run(*engine, greedy("b", 5))->wait_done().reason, FinishReason::length);
}

TEST_F(DeviceFailure, ADeviceThatStaysAwayEndsTheEngineAndSessionsAreSaved) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  {
    const auto engine = this->engine(options_with(folder));
    open_sessions(*engine);
    faults_.unmakeable = 100;
    faults_.attends_left = 200;
    EXPECT_TRUE(run(*engine, greedy("a", 100))->wait_done().resumable);
    EXPECT_EQ(given_up_.get_future().get(), "there is no device");
    EXPECT_EQ(error(stat(*engine, "a")).code, ErrorCode::shutting_down);
  }
  faults_.unmakeable = 0;
  const auto later = this->engine(options_with(folder));
  const auto collector = run(*later, greedy("b", 100));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected);
  EXPECT_TRUE(value(stat(*later, "a")).interrupted);
}

TEST_F(DeviceFailure, CopiesThatTheDeviceDoesNotGiveOutRestartItToo) {
  const ScratchFolder folder;
  const auto engine = this->engine(options_with(folder));
  open_sessions(*engine);
  value(save(*engine, "a"));
  value(append(*engine, "b", " and"));
  faults_.forgets = true;
  faults_.attends_left = 0;
  run(*engine, greedy("a", 10))->wait_done();
  EXPECT_EQ(run(*engine, greedy("a", 10))->wait_done().reason, FinishReason::length);
  EXPECT_EQ(error(save(*engine, "b")).code, ErrorCode::unknown_session);
}

}  // namespace
}  // namespace condensed::engine
