#include "engine/engine_observer.h"

#include <filesystem>
#include <future>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "kernels/make_backend.h"

namespace condensed::engine {
namespace {

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
};

class Waiter final : public GenerationListener {
 public:
  bool accepts_token() const override { return true; }
  void on_token(const GeneratedToken& /*token*/) override {}
  void on_done(const GenerationSummary& /*summary*/) override { done_.set_value(); }
  void wait() { done_.get_future().wait(); }

 private:
  std::promise<void> done_;
};

template <typename T>
struct Answer {
  std::promise<T> promise;
  Reply<T> reply() {
    return [this](std::variant<T, Error> result) { promise.set_value(std::get<T>(std::move(result))); };
  }
  T wait() { return promise.get_future().get(); }
};

class EngineObserverTest : public testing::Test {
 protected:
  EngineObserverTest() { start({}); }

  void start(EngineOptions options) {
    options.default_window = {4, 28};
    options.observer = &recorder_;
    engine_.emplace(load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                               kernels::make_backend("auto", 1), std::nullopt),
                    options);
  }

  SessionInfo open(const std::string& name, std::vector<std::int32_t> tokens) {
    Answer<SessionInfo> answer;
    engine_->open({.session = {.name = name}, .input = std::move(tokens)}, answer.reply());
    return answer.wait();
  }
  void append(const std::string& name, std::vector<std::int32_t> tokens) {
    Answer<AppendResult> answer;
    engine_->append({.name = name}, std::move(tokens), answer.reply());
    answer.wait();
  }
  std::shared_ptr<Waiter> generate(const std::string& name, std::optional<std::int64_t> max_tokens) {
    GenerateRequest request{.session = {.name = name}, .max_tokens = max_tokens, .ignore_eos = true};
    auto waiter = std::make_shared<Waiter>();
    Answer<SessionInfo> answer;
    engine_->generate(request, waiter, answer.reply());
    answer.wait();
    return waiter;
  }
  EngineInfo stat() {
    Answer<EngineInfo> answer;
    engine_->stat_engine(answer.reply());
    return answer.wait();
  }

  Recorder recorder_;
  std::optional<Engine> engine_;
};

TEST_F(EngineObserverTest, StepsAddUpToTheEnginesCounters) {
  open("a", {5, 6, 7, 8, 9});
  open("b", std::vector<std::int32_t>(50, 11));
  const auto a = generate("a", 20);
  const auto b = generate("b", 30);
  a->wait();
  b->wait();
  const EngineInfo info = stat();
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
  open("a", {5, 6});
  generate("a", 7)->wait();
  generate("a", 1)->wait();
  generate("a", 4)->wait();
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
  open("a", {5, 6, 7});
  generate("a", 3)->wait();
  append("a", {8, 9});
  generate("a", std::nullopt);
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
    open(name, {5});
    generate(name, std::nullopt);
  }
  EXPECT_EQ(stat().waiting,
            3);  // a command of ours is carried out after at least one step since the last one
  EXPECT_EQ(stat().generating, 5);
}

}  // namespace
}  // namespace condensed::engine
