#include "engine/engine_observer.h"

#include <filesystem>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/engine_calls.h"
#include "tests/engine/scratch_folder.h"

namespace condensed::engine {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;

/// Keeps all it is told. To be looked at when the engine has stopped.
class Recorder final : public EngineObserver {
 public:
  void on_step(const StepReport& step) override { steps.push_back(step); }
  void on_first_token(nanoseconds since_arrival) override { first_tokens.push_back(since_arrival); }
  void on_later_token(nanoseconds since_previous) override { later_tokens.push_back(since_previous); }
  void on_generation_end(const GenerationSummary& summary) override { ends.push_back(summary); }
  void on_append_read(std::int64_t tokens) override { appends.push_back(tokens); }
  void on_snapshot_written(std::size_t bytes, nanoseconds /*duration*/) override {
    snapshot_bytes.push_back(bytes);
  }
  void on_snapshot_failed() override { ++n_failed; }
  void on_session_hibernated() override { ++n_hibernated; }
  void on_session_woken(nanoseconds duration) override { woken.push_back(duration); }

  std::int64_t sum(std::int64_t StepReport::*member) const {
    return std::accumulate(
        steps.begin(), steps.end(), std::int64_t{0},
        [member](std::int64_t total, const StepReport& step) { return total + step.*member; });
  }

  std::vector<StepReport> steps;
  std::vector<nanoseconds> first_tokens;
  std::vector<nanoseconds> later_tokens;
  std::vector<GenerationSummary> ends;
  std::vector<std::int64_t> appends;
  std::vector<std::size_t> snapshot_bytes;
  std::vector<nanoseconds> woken;
  std::int64_t n_failed = 0;
  std::int64_t n_hibernated = 0;
};

class EngineObserverTest : public testing::Test {
 protected:
  EngineObserverTest() { start({}); }

  void start(EngineOptions options) {
    options.default_window = {4, 28};
    options.observer = &recorder_;
    engine_.emplace(small_model(), options);
  }

  SessionInfo open_with(const std::string& name, std::vector<std::int32_t> tokens) {
    return value(open(*engine_, {.session = {.name = name}, .input = std::move(tokens)}));
  }
  std::shared_ptr<Collector> start_generation(const std::string& name,
                                              std::optional<std::int64_t> max_tokens) {
    auto collector = std::make_shared<Collector>();
    GenerateRequest request = greedy(name, 1);
    request.max_tokens = max_tokens;
    value(generate(*engine_, request, collector));
    return collector;
  }
  EngineInfo stat_all() {
    return value(wait_for<EngineInfo>([&](auto reply) { engine_->stat_engine(reply); }));
  }

  Recorder recorder_;
  std::optional<Engine> engine_;
};

TEST_F(EngineObserverTest, StepsAddUpToTheEnginesCounters) {
  open_with("a", {5, 6, 7, 8, 9});
  open_with("b", std::vector<std::int32_t>(50, 11));
  const auto a = start_generation("a", 20);
  const auto b = start_generation("b", 30);
  a->wait_done();
  b->wait_done();
  const EngineInfo info = stat_all();
  engine_->shutdown();

  EXPECT_EQ(static_cast<std::int64_t>(recorder_.steps.size()), info.steps);
  EXPECT_EQ(recorder_.sum(&StepReport::decode_rows), info.tokens_generated);
  EXPECT_EQ(recorder_.sum(&StepReport::prompt_rows), info.tokens_read);
  EXPECT_EQ(info.tokens_generated, 20 + 30);
  EXPECT_EQ(info.tokens_read, 5 + 50);  // each with its beginning-of-sequence token, less its last one
  EXPECT_EQ(recorder_.sum(&StepReport::evictions), info.evictions);
  EXPECT_EQ(info.evictions, 50 + 30 - 32);
  for (const StepReport& step : recorder_.steps) {
    EXPECT_GE(step.sessions, 1);
    EXPECT_LE(step.sessions, step.rows());
    EXPECT_GE(step.passes, 1);
    EXPECT_GT(step.duration, nanoseconds::zero());
  }
}

TEST_F(EngineObserverTest, EveryTokenIsTheFirstOrALaterOne) {
  open_with("a", {5, 6});
  start_generation("a", 7)->wait_done();
  start_generation("a", 1)->wait_done();
  start_generation("a", 4)->wait_done();
  engine_->shutdown();

  EXPECT_EQ(recorder_.first_tokens.size(), 3U);
  EXPECT_EQ(recorder_.later_tokens.size(), 6U + 0 + 3);
  EXPECT_THAT(recorder_.first_tokens, Each(Ge(nanoseconds::zero())));
  EXPECT_THAT(recorder_.later_tokens, Each(Ge(nanoseconds::zero())));
  const GenerationSummary& first = recorder_.ends.front();
  EXPECT_EQ(first.time_to_first_token, recorder_.first_tokens.front());
  EXPECT_GE(first.total, std::accumulate(recorder_.later_tokens.begin(), recorder_.later_tokens.begin() + 6,
                                         first.time_to_first_token));
}

TEST_F(EngineObserverTest, EndsSayWhyAndHowMuch) {
  open_with("a", {5, 6, 7});
  start_generation("a", 3)->wait_done();
  value(append(*engine_, "a", std::vector<std::int32_t>{8, 9}));
  start_generation("a", std::nullopt);
  engine_->shutdown();

  ASSERT_EQ(recorder_.ends.size(), 2U);
  EXPECT_EQ(recorder_.ends[0].reason, FinishReason::length);
  EXPECT_EQ(recorder_.ends[0].prompt_tokens, 3);
  EXPECT_EQ(recorder_.ends[0].completion_tokens, 3);
  EXPECT_EQ(recorder_.ends[1].reason, FinishReason::shutdown);
  EXPECT_EQ(recorder_.ends[1].prompt_tokens, 2);
  EXPECT_THAT(recorder_.appends, ElementsAre(3, 2));
}

TEST_F(EngineObserverTest, WhoFindsNoRoomInAStepWaits) {
  EngineOptions options;
  options.max_batch_rows = 2;
  start(options);
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    open_with(name, {5});
    start_generation(name, std::nullopt);
  }
  EXPECT_EQ(stat_all().waiting,
            3);  // a command of ours is carried out after at least one step since the last one
  EXPECT_EQ(stat_all().generating, 5);
}

TEST_F(EngineObserverTest, SnapshotsAreReportedAndSleepIs) {
  const ScratchFolder folder;
  start({.max_resident_sessions = 1, .state_dir = folder.path()});
  open_with("a", {5, 6, 7});
  const SavedSnapshot saved = value(save(*engine_, "a"));
  open_with("b", {5});  // there is room for one: a goes to sleep
  value(append(*engine_, "a", std::vector<std::int32_t>{8}));
  engine_->shutdown();

  EXPECT_EQ(recorder_.snapshot_bytes.front(), saved.bytes);
  EXPECT_EQ(recorder_.n_hibernated, 2);  // a for b, and b for a
  EXPECT_EQ(recorder_.woken.size(), 1U);
  EXPECT_THAT(recorder_.woken, Each(Ge(nanoseconds::zero())));
  EXPECT_EQ(recorder_.n_failed, 0);
}

TEST_F(EngineObserverTest, FailedSnapshotsAreReported) {
  const ScratchFolder folder;
  start({.state_dir = folder.path()});
  open_with("a", {5, 6, 7});
  fs::rename(folder.path() / "sessions", folder.path() / "elsewhere");
  EXPECT_EQ(error(save(*engine_, "a")).code, ErrorCode::snapshot_failed);
  fs::rename(folder.path() / "elsewhere", folder.path() / "sessions");
  value(save(*engine_, "a"));
  engine_->shutdown();
  EXPECT_EQ(recorder_.n_failed, 1);
}

}  // namespace
}  // namespace condensed::engine
