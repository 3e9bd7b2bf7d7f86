// The device fails under a running engine: what becomes of generations and sessions, and that it goes on.

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <new>
#include <stdexcept>
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
  std::atomic<int> crowded_attends = 0;  // for which there is no room
  std::atomic<int> crowded_rows = 0;     // nor for those of so many rows; 0: there is
  std::atomic<bool> forgets = false;     // with the failure the memory is gone: nothing can be downloaded
  std::atomic<std::int64_t> allocations = 0;
  std::atomic<std::int64_t> full_from = 0;  // number of the allocation from which on all fail; 0: none does
  std::atomic<bool> stays = false;          // devices made later fail in the same way
  std::atomic<std::int64_t> uploads = 0;
  std::atomic<std::int64_t> failing_upload = 0;  // its number, from 1
  std::atomic<int> made = 0;
  std::atomic<int> unmakeable = 0;    // attempts at making one that will fail
  std::atomic<int> unreasonable = 0;  // and that will with an exception that is no DeviceError
  std::atomic<int> last_attempts = 0;
  std::atomic<std::size_t> reservable = std::numeric_limits<std::size_t>::max();  // 0: std::bad_alloc
  std::atomic<bool> reserve_fails = false;                                        // once
};

class FaultyBackend : public kernels::test::ForwardingBackend {
 public:
  explicit FaultyBackend(Faults& faults)
      : ForwardingBackend(kernels::make_backend("auto", 1)), faults_(faults) {
    ++faults.made;
  }

  std::size_t reserve(std::size_t bytes) override {
    if (faults_.reserve_fails.exchange(false)) {
      broken_ = true;
      throw DeviceError("nothing can be reserved");
    }
    if (faults_.reservable == 0) {
      throw std::bad_alloc();
    }
    return std::min<std::size_t>(ForwardingBackend::reserve(bytes), faults_.reservable);
  }

  void attend(const kernels::AttentionShape& shape, std::span<const float> queries_stream,
              std::span<const float> queries_sink, std::span<const kernels::KvRun> runs,
              std::span<const std::int32_t> run_begin, std::span<float> out) override {
    if (faults_.crowded_rows > 0 && std::ssize(run_begin) > faults_.crowded_rows) {
      throw kernels::NoRoomError("no room for so many rows");
    }
    ForwardingBackend::attend(shape, queries_stream, queries_sink, runs, run_begin, out);
  }

 private:
  void before(std::string_view operation) override {
    if (broken_ && (faults_.forgets || operation != "download")) {
      throw DeviceError("the device is lost");
    }
    if (operation == "allocate" && ++faults_.allocations >= faults_.full_from && faults_.full_from > 0) {
      throw std::bad_alloc();
    }
    if (operation == "upload" && ++faults_.uploads == faults_.failing_upload) {
      broken_ = true;
      throw DeviceError("the upload failed");
    }
    if (operation == "attend" && faults_.crowded_attends > 0) {
      --faults_.crowded_attends;
      throw kernels::NoRoomError("no room for scratch memory");
    }
    if (operation == "attend" && faults_.stays && faults_.attends_left == 0) {
      broken_ = true;
      throw DeviceError("the launch failed again");
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
    options.remake_backend = [this](bool last) -> std::unique_ptr<kernels::Backend> {
      faults_.last_attempts += last ? 1 : 0;
      on_attempt_();
      if (faults_.unreasonable > 0) {
        --faults_.unreasonable;
        throw std::invalid_argument("these kernels need another processor");
      }
      if (faults_.unmakeable > 0) {
        --faults_.unmakeable;
        throw DeviceError("there is no device");
      }
      return std::make_unique<FaultyBackend>(faults_);
    };
    options.restart_after = restart_after_;
    options.given_up = [this](const std::string& why) { given_up_.set_value(why); };
    options.warn = [this](const std::string& warning) { warnings_ += warning + "\n"; };
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
  /// Each of the two sessions generates the tokens that one does that nothing befell.
  void expect_both_go_on(Engine& engine, const std::vector<std::int32_t>& expected) {
    for (const char* name : {"a", "b"}) {
      const auto collector = run(engine, greedy(name, static_cast<std::int64_t>(expected.size())));
      collector->wait_done();
      EXPECT_EQ(collector->ids(), expected) << name;
    }
  }
  static std::size_t max_cache_bytes(Engine& engine) {
    return value(wait_for<EngineInfo>([&](auto reply) { engine.stat_engine(reply); })).max_cache_bytes;
  }
  std::vector<std::int32_t> undisturbed() {
    const auto whole = engine(small_options());
    open_sessions(*whole);
    const auto collector = run(*whole, greedy("a", 100));
    collector->wait_done();
    return collector->ids();
  }

  Faults faults_;
  std::function<void()> on_attempt_ = [] {};  // on the engine's thread
  std::vector<std::chrono::milliseconds> restart_after_{std::chrono::milliseconds(0),
                                                        std::chrono::milliseconds(1)};
  std::promise<std::string> given_up_;
  std::vector<std::string> went_back_;  // of the engine's thread; looked at when that has ended
  std::string warnings_;                // as that
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
  expect_both_go_on(*engine, expected);
  EXPECT_EQ(error(stat(*engine, "unsaved")).code, ErrorCode::unknown_session);
  engine->shutdown();
  EXPECT_THAT(went_back_, testing::UnorderedElementsAre("a", "unsaved"));
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

TEST_F(DeviceFailure, AnInputThatWaitsIsReadAfterTheRestart) {
  const std::vector<std::int32_t> input(400, 17);
  const auto whole = engine(small_options());
  open_sessions(*whole);
  const std::int64_t end = value(append(*whole, "a", input)).position;
  const auto expected = run(*whole, greedy("a", 40));
  expected->wait_done();

  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  const int made = faults_.made;
  faults_.attends_left = 300;
  EXPECT_EQ(value(append(*engine, "a", input)).position, end);
  EXPECT_EQ(faults_.made, made + 1);
  const auto collector = run(*engine, greedy("a", 40));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected->ids());
}

TEST_F(DeviceFailure, InputUnderWhichTheDeviceFailsAgainIsDropped) {
  const auto expected = undisturbed();
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  const std::int64_t position = value(stat(*engine, "a")).position;
  faults_.stays = true;
  faults_.attends_left = 0;
  const Error refused = error(append(*engine, "a", std::vector<std::int32_t>(400, 17)));
  EXPECT_EQ(refused.code, ErrorCode::device_failed);
  EXPECT_FALSE(refused.retry_after_ms.has_value());
  EXPECT_THAT(refused.message, HasSubstr("does not read the rest of this input"));
  faults_.attends_left = -1;
  EXPECT_EQ(value(stat(*engine, "a")).position, position);
  const auto collector = run(*engine, greedy("a", 100));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected);
}

TEST_F(DeviceFailure, AFailureThatRepeatsEndsTheEngine) {
  const ScratchFolder folder;
  {
    const auto engine = this->engine(options_with(folder));
    open_sessions(*engine);
    faults_.stays = true;
    faults_.attends_left = 0;
    for (int attempt = 0; attempt < 3; ++attempt) {  // two restarts, and none after the third
      GenerateRequest request = greedy("a", 10);
      request.resume = attempt > 0;
      EXPECT_EQ(run(*engine, request)->wait_done().reason, FinishReason::failed);
    }
    EXPECT_THAT(given_up_.get_future().get(), HasSubstr("the launch failed again"));
    EXPECT_EQ(faults_.last_attempts, 1);
  }
  faults_.attends_left = -1;
  const auto later = this->engine(options_with(folder));
  EXPECT_TRUE(value(stat(*later, "a")).interrupted);
  EXPECT_EQ(run(*later, greedy("b", 5))->wait_done().reason, FinishReason::length);
}

TEST_F(DeviceFailure, CopiesOutliveADeviceThatFailsWhileTheyReturn) {
  const auto expected = undisturbed();
  faults_.uploads = 0;
  const auto engine = this->engine(small_options());
  const std::int64_t of_the_model = faults_.uploads;
  open_sessions(*engine);
  const int made = faults_.made;
  faults_.attends_left = 0;
  // Behind those of the step that fails and of loading the model again: of a session that returns.
  faults_.failing_upload = faults_.uploads + of_the_model + 6;
  EXPECT_TRUE(run(*engine, greedy("a", 100))->wait_done().resumable);
  expect_both_go_on(*engine, expected);
  EXPECT_EQ(faults_.made, made + 2);
  engine->shutdown();
  EXPECT_TRUE(went_back_.empty());
  EXPECT_THAT(warnings_, HasSubstr("the device failed: the upload failed; 2 sessions stay as they are"));
}

TEST_F(DeviceFailure, WhatFilesSayIsNotCopied) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  EngineOptions options = options_with(folder);
  options.max_rescued_bytes = 0;
  const auto engine = this->engine(options);
  open_sessions(*engine);
  value(save(*engine, "a"));
  value(open(*engine, {.session = {.name = "c"}, .input = "Once upon a time"}));
  faults_.attends_left = 0;
  // Neither b, which generates, nor c has a file, and there is no room to copy them.
  EXPECT_FALSE(run(*engine, greedy("b", 100))->wait_done().resumable);
  EXPECT_EQ(error(stat(*engine, "c")).code, ErrorCode::unknown_session);
  EXPECT_TRUE(value(stat(*engine, "a")).asleep);
  const auto collector = run(*engine, greedy("a", 100));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected);
  engine->shutdown();
  EXPECT_THAT(went_back_, testing::UnorderedElementsAre("b", "c"));
  EXPECT_THAT(warnings_, HasSubstr("1 sessions stay as they are, 0 go back to what is on disk, 2 are lost"));
}

TEST_F(DeviceFailure, AnyExceptionOfTheRestartIsAFailedAttempt) {
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  faults_.unreasonable = 100;
  faults_.attends_left = 0;
  EXPECT_TRUE(run(*engine, greedy("a", 10))->wait_done().resumable);
  EXPECT_EQ(given_up_.get_future().get(), "these kernels need another processor");
}

TEST_F(DeviceFailure, AnEngineThatIsToStopMeanwhileHasNotGivenUp) {
  const ScratchFolder folder;
  restart_after_ = {std::chrono::hours(1)};
  {
    const auto engine = this->engine(options_with(folder));
    open_sessions(*engine);
    faults_.attends_left = 0;
    EXPECT_TRUE(run(*engine, greedy("a", 10))->wait_done().resumable);
  }
  EXPECT_EQ(given_up_.get_future().wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  restart_after_ = {};
  const auto later = this->engine(options_with(folder));
  EXPECT_TRUE(value(stat(*later, "a")).interrupted);
  EXPECT_EQ(run(*later, greedy("b", 5))->wait_done().reason, FinishReason::length);
}

TEST_F(DeviceFailure, WhatHasNoRoomConcernsItsSessionOnly) {
  const auto expected = undisturbed();
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  const int made = faults_.made;
  faults_.full_from = 1;
  const Error refused = error(open(*engine, {.session = {.name = "c"}, .input = "Once upon a time"}));
  EXPECT_EQ(refused.code, ErrorCode::memory_limit);
  EXPECT_TRUE(refused.retry_after_ms.has_value());
  const auto collector = run(*engine, greedy("a", 100));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected);
  faults_.full_from = 0;
  value(append(*engine, "c", "It was a dark and stormy night"));
  const auto later = run(*engine, greedy("c", 100));
  later->wait_done();
  EXPECT_EQ(later->ids(), expected);
  EXPECT_EQ(faults_.made, made);
}

TEST_F(DeviceFailure, AStepWithoutRoomConcernsItsSessionsOnly) {
  const auto expected = undisturbed();
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  const int made = faults_.made;
  faults_.crowded_attends = 1;
  const auto first = run(*engine, greedy("a", 100));
  const GenerationSummary summary = first->wait_done();
  EXPECT_EQ(summary.reason, FinishReason::failed);
  EXPECT_TRUE(summary.resumable);
  EXPECT_THAT(summary.message, HasSubstr("no room for scratch memory"));
  const std::int64_t position = value(stat(*engine, "b")).position;
  faults_.crowded_attends = 1;
  EXPECT_EQ(error(append(*engine, "b", std::vector<std::int32_t>(40, 17))).code, ErrorCode::memory_limit);
  EXPECT_EQ(value(stat(*engine, "b")).position, position);
  GenerateRequest resume = greedy("a", 0);
  resume.resume = true;
  const auto second = run(*engine, resume);
  second->wait_done();
  EXPECT_EQ(second->ids(), expected);
  const auto other = run(*engine, greedy("b", 100));
  other->wait_done();
  EXPECT_EQ(other->ids(), expected);
  EXPECT_EQ(faults_.made, made);
}

TEST_F(DeviceFailure, APromptWithoutRoomLeavesThoseWhoDecodeAlone) {
  EngineOptions options = small_options();
  options.prompt = {.mode = PromptMode::passes, .chunk_tokens = 32, .passes = 9};
  const auto engine = this->engine(options);
  open_sessions(*engine);
  const auto endless = run(*engine, greedy("a", 1'000'000));
  faults_.crowded_rows = 20;
  EXPECT_EQ(error(append(*engine, "b", std::vector<std::int32_t>(40, 17))).code, ErrorCode::memory_limit);
  value(cancel(*engine, "a"));
  EXPECT_EQ(endless->wait_done().reason, FinishReason::cancelled);
}

TEST_F(DeviceFailure, WhatTheRestartedDeviceHasNoRoomForGoesToAFile) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  faults_.allocations = 0;
  const auto engine = this->engine(options_with(folder));
  const std::int64_t of_the_model = faults_.allocations;
  open_sessions(*engine);
  faults_.attends_left = 0;
  faults_.full_from = faults_.allocations + of_the_model + 2;  // a returns, b does not
  EXPECT_TRUE(run(*engine, greedy("a", 100))->wait_done().resumable);
  EXPECT_FALSE(value(stat(*engine, "a")).asleep);
  EXPECT_TRUE(value(stat(*engine, "b")).asleep);
  faults_.full_from = 0;
  expect_both_go_on(*engine, expected);
  engine->shutdown();
  EXPECT_THAT(went_back_, testing::ElementsAre("b"));
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

TEST_F(DeviceFailure, LimitsThatComeWhenThereIsNoDeviceAnyMoreDoNoHarm) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  {
    const auto engine = this->engine(options_with(folder));
    open_sessions(*engine);
    on_attempt_ = [&] { engine->set_limits(options_with(folder)); };
    faults_.unmakeable = 100;
    faults_.attends_left = 0;
    EXPECT_TRUE(run(*engine, greedy("a", 10))->wait_done().resumable);
    EXPECT_EQ(given_up_.get_future().get(), "there is no device");
  }
  faults_.unmakeable = 0;
  const auto later = this->engine(options_with(folder));
  const auto collector = run(*later, greedy("b", 100));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected);
}

TEST_F(DeviceFailure, WhatWaitedForADeviceThatStaysAwayChangesNoSession) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  restart_after_ = {std::chrono::hours(1)};
  {
    const auto engine = this->engine(options_with(folder));
    open_sessions(*engine);
    faults_.attends_left = 0;
    EXPECT_TRUE(run(*engine, greedy("a", 10))->wait_done().resumable);
    std::promise<std::variant<SessionInfo, Error>> undone;
    engine->undo({.name = "b"}, 3, [&](auto result) { undone.set_value(std::move(result)); });
    engine->shutdown();
    EXPECT_EQ(error(undone.get_future().get()).code, ErrorCode::device_failed);
  }
  restart_after_ = {};
  const auto later = this->engine(options_with(folder));
  const auto collector = run(*later, greedy("b", 100));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), expected);
}

TEST_F(DeviceFailure, AHigherLimitThatTheDeviceFailsUnderRestartsIt) {
  EngineOptions options = small_options();
  options.max_cache_bytes = 1'000'000;
  const auto engine = this->engine(options);
  open_sessions(*engine);
  const int made = faults_.made;
  options.max_cache_bytes = 2'000'000;
  faults_.reserve_fails = true;
  engine->set_limits(options);
  EXPECT_EQ(max_cache_bytes(*engine), 1'000'000);  // and the restart follows, before any other request
  EXPECT_EQ(run(*engine, greedy("b", 5))->wait_done().reason, FinishReason::length);
  EXPECT_EQ(faults_.made, made + 1);
  EXPECT_EQ(max_cache_bytes(*engine), 2'000'000);
  engine->shutdown();
  EXPECT_TRUE(went_back_.empty());
  EXPECT_THAT(warnings_, HasSubstr("the device failed: nothing can be reserved; 2 sessions stay"));
}

TEST_F(DeviceFailure, AHigherLimitThatThereIsNoRoomForChangesNothing) {
  EngineOptions options = small_options();
  options.max_cache_bytes = 1'000'000;
  const auto engine = this->engine(options);
  open_sessions(*engine);
  const int made = faults_.made;
  options.max_cache_bytes = 2'000'000;
  faults_.reservable = 0;
  engine->set_limits(options);
  EXPECT_EQ(max_cache_bytes(*engine), 1'000'000);
  EXPECT_EQ(run(*engine, greedy("b", 5))->wait_done().reason, FinishReason::length);
  EXPECT_EQ(faults_.made, made);
  engine->shutdown();
  EXPECT_THAT(warnings_, HasSubstr("max_cache_bytes stays 1000000"));
}

TEST_F(DeviceFailure, ALimitThatWasLoweredForWantOfRoomRisesAgain) {
  const ScratchFolder folder;
  const auto expected = undisturbed();
  EngineOptions options = options_with(folder);
  options.max_cache_bytes = 10'000'000;
  const auto engine = this->engine(options);
  open_sessions(*engine);
  const std::size_t session_bytes = value(stat(*engine, "a")).cache_bytes_max;
  faults_.reservable = session_bytes + session_bytes / 2;
  faults_.attends_left = 0;
  EXPECT_TRUE(run(*engine, greedy("a", 100))->wait_done().resumable);
  EXPECT_EQ(max_cache_bytes(*engine), faults_.reservable);
  EXPECT_FALSE(value(stat(*engine, "a")).asleep);
  EXPECT_TRUE(value(stat(*engine, "b")).asleep);  // used before a

  faults_.reservable = std::numeric_limits<std::size_t>::max();
  faults_.attends_left = 0;
  EXPECT_TRUE(run(*engine, greedy("a", 100))->wait_done().resumable);
  EXPECT_EQ(max_cache_bytes(*engine), 10'000'000);
  expect_both_go_on(*engine, expected);
  engine->shutdown();
  EXPECT_THAT(went_back_, testing::ElementsAre("b"));
  EXPECT_THAT(warnings_, HasSubstr("instead of 10000000: the device has no room for more"));
}

TEST_F(DeviceFailure, ADeviceWithoutRoomForASessionIsNoPlaceToGoOn) {
  const auto engine = this->engine(small_options());
  open_sessions(*engine);
  faults_.reservable = value(stat(*engine, "a")).cache_bytes_max - 1;
  faults_.attends_left = 0;
  EXPECT_TRUE(run(*engine, greedy("a", 10))->wait_done().resumable);
  EXPECT_THAT(given_up_.get_future().get(), HasSubstr("one session takes"));
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
