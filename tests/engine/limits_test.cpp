#include <chrono>
#include <filesystem>
#include <future>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/input_budget.h"
#include "engine/model.h"
#include "engine/reading_pace.h"
#include "kernels/make_backend.h"

namespace condensed::engine {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<Model> small_model() {
  return load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                    kernels::make_backend("auto", 2), parse_weight_format("stored"));
}

/// Takes no token: its generation rests until it is cancelled.
class Resting : public GenerationListener {
 public:
  bool accepts_token() const override { return false; }
  void on_token(const GeneratedToken&) override {}
  void on_done(const GenerationSummary&) override {}
};

/// One answer of the engine, to be waited for.
template <typename T>
class Answer {
 public:
  Reply<T> reply() {
    return [promise = promise_](std::variant<T, Error> result) { promise->set_value(std::move(result)); };
  }
  T value() { return std::get<T>(promise_->get_future().get()); }
  Error error() { return std::get<Error>(promise_->get_future().get()); }

 private:
  std::shared_ptr<std::promise<std::variant<T, Error>>> promise_ =
      std::make_shared<std::promise<std::variant<T, Error>>>();
};

void open(Engine& engine, const std::string& session) {
  Answer<SessionInfo> answer;
  engine.open({.session = {.name = session}}, answer.reply());
  answer.value();
}

Answer<SessionInfo> generate(Engine& engine, const std::string& session, std::int64_t max_tokens = 0) {
  Answer<SessionInfo> answer;
  GenerateRequest request;
  request.session.name = session;
  if (max_tokens > 0) request.max_tokens = max_tokens;
  engine.generate(request, std::make_shared<Resting>(), answer.reply());
  return answer;
}

TEST(Limits, ASessionTooManyIsToldWhichLimitItIs) {
  EngineOptions options;
  options.max_sessions = 1;
  Engine engine(small_model(), options);
  open(engine, "a");
  Answer<SessionInfo> answer;
  engine.open({.session = {.name = "b"}}, answer.reply());
  const Error error = answer.error();
  EXPECT_EQ(error.code, ErrorCode::session_limit);
  EXPECT_EQ(error.limit, "max_sessions");
  EXPECT_EQ(error.retry_after_ms, 1000);
}

TEST(Limits, WhatIsNoLimitNamesNone) {
  Engine engine(small_model(), {});
  const Error error = generate(engine, "nobody").error();
  EXPECT_EQ(error.code, ErrorCode::unknown_session);
  EXPECT_EQ(error.limit, "");
  EXPECT_FALSE(error.retry_after_ms);
}

TEST(Limits, AGenerationTooManyMayComeWhenOneHasEnded) {
  EngineOptions options;
  options.max_generating = 2;
  Engine engine(small_model(), options);
  for (const char* session : {"a", "b", "c"}) open(engine, session);
  generate(engine, "a").value();
  generate(engine, "b").value();
  Error error = generate(engine, "c").error();
  EXPECT_EQ(error.code, ErrorCode::generation_limit);
  EXPECT_EQ(error.limit, "max_generating");
  EXPECT_EQ(error.retry_after_ms, 1000);  // both are endless: nothing tells when one ends
  Answer<SessionInfo> cancelled;
  engine.cancel({.name = "a"}, cancelled.reply());
  cancelled.value();
  generate(engine, "c", 1).value();
  error = generate(engine, "a").error();
  EXPECT_EQ(error.code, ErrorCode::generation_limit);
  ASSERT_TRUE(error.retry_after_ms);
  EXPECT_LT(*error.retry_after_ms, 1000);  // a step
}

TEST(Limits, InputTooLongForASessionIsWorthRetryingOnlyIfItCanEverFit) {
  EngineOptions options;
  options.max_waiting_input_bytes = 1024;
  Engine engine(small_model(), options);
  open(engine, "a");
  Answer<AppendResult> hopeless;
  engine.append({.name = "a"}, std::string(1025, 'x'), hopeless.reply());
  const Error error = hopeless.error();
  EXPECT_EQ(error.code, ErrorCode::append_limit);
  EXPECT_EQ(error.limit, "max_waiting_input_bytes");
  EXPECT_FALSE(error.retry_after_ms);
}

TEST(Limits, InputOfAllSessionsTogetherIsBounded) {
  constexpr std::size_t kLimit = 4096;
  EngineOptions options;
  options.max_total_waiting_input_bytes = kLimit;
  Engine engine(small_model(), options);
  for (const char* session : {"a", "b"}) open(engine, session);
  std::promise<void> looked;
  engine.stat({.name = "a"}, [&](const auto&) { looked.get_future().wait(); });  // nothing is read meanwhile
  const std::string half(kLimit / 2, ' ');
  std::vector<Answer<AppendResult>> fit(2);
  engine.append({.name = "a"}, half, fit[0].reply());
  engine.append({.name = "b"}, half, fit[1].reply());
  Answer<AppendResult> too_much;
  engine.append({.name = "b"}, half, too_much.reply());
  const Error error = too_much.error();
  EXPECT_EQ(error.code, ErrorCode::append_limit);
  EXPECT_EQ(error.limit, "max_total_waiting_input_bytes");
  ASSERT_TRUE(error.retry_after_ms);
  EXPECT_GE(*error.retry_after_ms, 1);
  looked.set_value();

  // Whoever waits for its answer finds room again; what can never fit is told so.
  for (Answer<AppendResult>& answer : fit) answer.value();
  Answer<AppendResult> again;
  engine.append({.name = "b"}, std::string(kLimit, ' '), again.reply());
  again.value();
  Answer<SessionInfo> hopeless;
  engine.open({.session = {.name = "c"}, .input = std::string(kLimit + 1, 'x')}, hopeless.reply());
  EXPECT_FALSE(hopeless.error().retry_after_ms);
}

TEST(InputBudget, GivesOutWhatItHasAndTakesItBackOnce) {
  InputBudget budget(10);
  auto six = budget.take(6);
  ASSERT_TRUE(six);
  EXPECT_FALSE(budget.take(5));
  auto four = budget.take(4);
  ASSERT_TRUE(four);
  six->release();
  six->release();
  six.reset();
  EXPECT_EQ(budget.used_bytes(), 4U);
  four.reset();
  EXPECT_EQ(budget.used_bytes(), 0U);
  EXPECT_FALSE(budget.take(11));
}

TEST(ReadingPace, SaysAsMuchAsItMeasured) {
  ReadingPace pace;
  EXPECT_EQ(pace.session_reads_ms(4000), 100);  // nothing measured yet
  pace.observe(8ms, 4, 16);                     // 2 ms between tokens of one session, 0.5 of any
  EXPECT_EQ(pace.session_reads_ms(4000), 2000);
  EXPECT_EQ(pace.all_read_ms(4000), 500);
  EXPECT_EQ(pace.steps_ms(10), 80);
  pace.observe(8ms, 0, 0);  // a step that read nothing says nothing about reading
  EXPECT_EQ(pace.session_reads_ms(4000), 2000);
  EXPECT_EQ(pace.session_reads_ms(0), 1);
  EXPECT_EQ(pace.session_reads_ms(std::size_t{1} << 40), 60'000);
}

}  // namespace
}  // namespace condensed::engine
