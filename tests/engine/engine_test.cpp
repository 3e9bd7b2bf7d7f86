#include "engine/engine.h"

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/engine_calls.h"

namespace condensed::engine {
namespace {

using testing::HasSubstr;

TEST(Engine, StreamsPastItsWindowInConstantMemory) {
  Engine engine(small_model(), small_options());
  const SessionInfo opened = value(open(engine, {.session = {.name = "a"}}));
  EXPECT_EQ(opened.position, 1);  // the beginning-of-sequence token
  const AppendResult appended = value(append(engine, "a", std::string("It was a dark and stormy night")));
  EXPECT_EQ(appended.position, 1 + appended.tokens);
  EXPECT_EQ(appended.position, value(stat(engine, "a")).position);
  auto first = std::make_shared<Collector>();
  value(generate(engine, greedy("a", 100), first));
  EXPECT_EQ(first->wait_done().reason, FinishReason::length);
  const SessionInfo full = value(stat(engine, "a"));
  EXPECT_EQ(full.cached, 64);
  EXPECT_EQ(full.cache_bytes, opened.cache_bytes_max);
  auto second = std::make_shared<Collector>();
  value(generate(engine, greedy("a", 500), second));
  EXPECT_EQ(second->wait_done().completion_tokens, 500);
  const SessionInfo later = value(stat(engine, "a"));
  EXPECT_EQ(later.cache_bytes, full.cache_bytes);
  EXPECT_EQ(later.position, full.position + 500);
  EXPECT_EQ(later.evictions, full.evictions + 500);
}

TEST(Engine, TheSameSeedGivesTheSameTextWhateverElseRuns) {
  GenerateRequest request;
  request.max_tokens = 150;
  request.ignore_eos = true;
  request.sampling.temperature = 0.9;
  request.sampling.top_p = 0.95;
  request.sampling.repetition_penalty = 1.1;
  request.sampling.seed = 7;
  const std::string prompt = "The captain looked at the sea, and ";

  const auto run_alone = [&] {
    Engine engine(small_model(), small_options());
    value(open(engine, {.session = {.name = "x"}}));
    auto collector = std::make_shared<Collector>();
    value(append(engine, "x", prompt));
    request.session.name = "x";
    value(generate(engine, request, collector));
    collector->wait_done();
    return collector->ids();
  };
  const std::vector<std::int32_t> alone = run_alone();
  ASSERT_EQ(alone.size(), 150U);

  Engine engine(small_model(), small_options());
  std::vector<std::shared_ptr<Collector>> others;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "other" + std::to_string(i);
    value(open(engine, {.session = {.name = name}}));
    others.push_back(std::make_shared<Collector>());
    GenerateRequest other = request;
    other.session.name = name;
    other.max_tokens.reset();
    other.sampling.seed = 100 + i;
    value(generate(engine, other, others.back()));
  }
  value(open(engine, {.session = {.name = "x"}}));
  auto collector = std::make_shared<Collector>();
  // Another session reads a long prompt while this one starts.
  value(open(engine, {.session = {.name = "reader"}}));
  std::string book;
  for (int i = 0; i < 200; ++i) book += "A sentence of a long prompt number " + std::to_string(i) + ". ";
  engine.append({.name = "reader"}, book, [](const auto&) {});
  value(append(engine, "x", prompt));
  request.session.name = "x";
  value(generate(engine, request, collector));
  collector->wait_done();
  EXPECT_EQ(collector->ids(), alone);
  for (const auto& other : others) EXPECT_GT(other->tokens().size(), 0U);
}

TEST(Engine, GreedyTokensAreTheSameAloneAndInABatchOf32) {
  for (const char* weights : {"stored", "q8", "q4"}) {
    EngineOptions options = small_options();
    options.cache_dtype = kernels::DType::q8;
    const auto tokens_beside = [&](int n_others) {
      Engine engine(small_model(weights), options);
      std::vector<std::shared_ptr<Collector>> others;
      for (int i = 0; i < n_others; ++i) {
        const std::string name = "other" + std::to_string(i);
        value(open(engine, {.session = {.name = name}, .input = "Number " + std::to_string(i)}));
        GenerateRequest endless = greedy(name, 1);
        endless.max_tokens.reset();
        value(generate(engine, endless, others.emplace_back(std::make_shared<Collector>())));
      }
      value(open(engine, {.session = {.name = "x"}, .input = std::string("It was a dark and stormy night")}));
      auto collector = std::make_shared<Collector>();
      value(generate(engine, greedy("x", 120), collector));
      collector->wait_done();
      return collector->ids();
    };
    EXPECT_EQ(tokens_beside(31), tokens_beside(0)) << weights;
  }
}

TEST(Engine, TextAppendedInPiecesIsTheTextAppendedAtOnce) {
  const std::string text = "Once upon a time, in a kingdom by the sea, there lived an old king.";
  const auto continuation = [&](const std::vector<std::string>& pieces) {
    Engine engine(small_model(), small_options());
    value(open(engine, {.session = {.name = "a"}}));
    for (const std::string& piece : pieces) value(append(engine, "a", piece));
    auto collector = std::make_shared<Collector>();
    value(generate(engine, greedy("a", 40), collector));
    collector->wait_done();
    return std::pair(value(stat(engine, "a")).position, collector->text());
  };
  EXPECT_EQ(continuation({text}), continuation({text.substr(0, 17), text.substr(17)}));
}

TEST(Engine, InputJoinsARunningGeneration) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}}));
  auto collector = std::make_shared<Collector>();
  GenerateRequest endless = greedy("a", 1);
  endless.max_tokens.reset();
  value(generate(engine, endless, collector));
  collector->wait_tokens(10);
  const AppendResult joined = value(append(engine, "a", std::vector<std::int32_t>{300, 301, 302}));
  EXPECT_EQ(joined.tokens, 3);
  collector->wait_tokens(collector->tokens().size() + 10);
  value(wait_for<SessionInfo>([&](auto reply) { engine.cancel({.name = "a"}, reply); }));
  EXPECT_EQ(collector->wait_done().reason, FinishReason::cancelled);
  EXPECT_EQ(collector->wait_done().prompt_tokens, 3);
  // The generated positions leave room for exactly the three that joined.
  std::int64_t expected = 1;
  for (const GeneratedToken& token : collector->tokens()) {
    if (expected == joined.position - 3) expected = joined.position;
    EXPECT_EQ(token.position, expected++);
  }
}

TEST(Engine, APausedListenerRestsItsSessionOnly) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "slow"}}));
  value(open(engine, {.session = {.name = "fast"}}));
  auto slow = std::make_shared<Collector>(5);
  auto fast = std::make_shared<Collector>();
  value(generate(engine, greedy("slow", 50), slow));
  value(generate(engine, greedy("fast", 300), fast));
  fast->wait_done();
  EXPECT_EQ(slow->tokens().size(), 5U);
  slow->grant(1000);
  engine.wake();
  EXPECT_EQ(slow->wait_done().completion_tokens, 50);
}

TEST(Engine, StopStringsEndTheTextBeforeThem) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}}));
  value(open(engine, {.session = {.name = "b"}}));
  auto whole = std::make_shared<Collector>();
  value(append(engine, "a", std::string("She said")));
  value(append(engine, "b", std::string("She said")));
  value(generate(engine, greedy("a", 60), whole));
  whole->wait_done();
  const std::string text = whole->text();
  ASSERT_GT(text.size(), 40U);
  const std::string stop = text.substr(20, 7);
  GenerateRequest request = greedy("b", 60);
  request.stop = {"no such text", stop};
  auto stopped = std::make_shared<Collector>();
  value(generate(engine, request, stopped));
  const GenerationSummary summary = stopped->wait_done();
  EXPECT_EQ(summary.reason, FinishReason::stop);
  EXPECT_EQ(summary.stop, stop);
  EXPECT_EQ(stopped->text(), text.substr(0, text.find(stop)));
}

TEST(Engine, LogProbabilitiesAreThoseOfTheModel) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}}));
  GenerateRequest request = greedy("a", 20);
  request.n_logprobs = 3;
  auto collector = std::make_shared<Collector>();
  value(generate(engine, request, collector));
  collector->wait_done();
  for (const GeneratedToken& token : collector->tokens()) {
    ASSERT_EQ(token.top.size(), 3U);
    EXPECT_EQ(token.top[0].first.token, token.token);  // greedy
    EXPECT_FLOAT_EQ(token.top[0].first.logprob, *token.logprob);
    EXPECT_LT(*token.logprob, 0);
    EXPECT_GE(token.top[1].first.logprob, token.top[2].first.logprob);
  }
}

TEST(Engine, RefusesWhatItCannotDo) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}}));
  EXPECT_TRUE(value(open(engine, {.session = {.name = "a"}})).existed);
  EXPECT_EQ(error(open(engine, {.session = {.name = "a"}, .window = 5})).code, ErrorCode::session_exists);
  EXPECT_EQ(error(open(engine, {.session = {.name = "b"}, .sinks = -1})).code, ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = {.name = "b"}, .window = 0})).code, ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = {.name = "b"}, .window = std::int64_t{1} << 60})).code,
            ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = {.name = "b"}, .input = std::vector<std::int32_t>{1, -1}})).code,
            ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = {.name = "b"}, .input = std::string(9 << 20, 'x')})).code,
            ErrorCode::append_limit);
  EXPECT_EQ(error(append(engine, "b", std::string("x"))).code, ErrorCode::unknown_session);
  const Error bad_token = error(append(engine, "a", std::vector<std::int32_t>{1, 1024}));
  EXPECT_EQ(bad_token.code, ErrorCode::bad_request);
  EXPECT_THAT(bad_token.message, HasSubstr("1024"));
  EXPECT_EQ(error(append(engine, "a", std::string(9 << 20, 'x'))).code, ErrorCode::append_limit);
  EXPECT_EQ(error(wait_for<SessionInfo>([&](auto reply) { engine.cancel({.name = "a"}, reply); })).code,
            ErrorCode::not_generating);
  GenerateRequest bad = greedy("a", 5);
  bad.sampling.top_p = 2;
  EXPECT_THAT(error(generate(engine, bad, std::make_shared<Collector>())).message, HasSubstr("top_p"));
  auto collector = std::make_shared<Collector>(0);
  value(generate(engine, greedy("a", 5), collector));
  EXPECT_EQ(error(generate(engine, greedy("a", 5), std::make_shared<Collector>())).code,
            ErrorCode::session_busy);
  value(open(engine, {.session = {.name = "empty"}, .bos = false}));
  EXPECT_EQ(error(generate(engine, greedy("empty", 5), std::make_shared<Collector>())).code,
            ErrorCode::bad_request);
  for (int i = 0; i < 38; ++i) value(open(engine, {}));
  EXPECT_EQ(error(open(engine, {})).code, ErrorCode::session_limit);
}

TEST(Engine, ClosingEndsTheGenerationAndFreesTheName) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}}));
  auto collector = std::make_shared<Collector>();
  GenerateRequest endless = greedy("a", 1);
  endless.max_tokens.reset();
  value(generate(engine, endless, collector));
  collector->wait_tokens(3);
  value(wait_for<SessionInfo>([&](auto reply) { engine.close({.name = "a"}, reply); }));
  EXPECT_EQ(collector->wait_done().reason, FinishReason::closed);
  EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::unknown_session);
  EXPECT_FALSE(value(open(engine, {.session = {.name = "a"}})).existed);
}

TEST(Engine, ShutdownTellsEveryListenerAndAnswersWhatWaits) {
  auto collector = std::make_shared<Collector>();
  std::atomic<int> refused = 0;
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}}));
  value(open(engine, {.session = {.name = "b"}}));
  GenerateRequest endless = greedy("a", 1);
  endless.max_tokens.reset();
  value(generate(engine, endless, collector));
  collector->wait_tokens(3);
  std::string book(1 << 20, 'x');
  engine.append({.name = "b"}, book,
                [&](const auto& result) { refused += std::holds_alternative<Error>(result) ? 1 : 0; });
  engine.shutdown();
  EXPECT_EQ(collector->wait_done().reason, FinishReason::shutdown);
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::shutting_down);
}

TEST(Engine, AnEndlessGenerationGoesOnPastEndOfSequence) {
  Engine engine(small_model(), small_options());
  GenerateRequest request;
  request.sampling.temperature = 0;
  request.sampling.logit_bias = {{2, 100.0F}};  // nothing but </s>
  for (const bool bounded : {true, false}) {
    const std::string name = bounded ? "bounded" : "endless";
    value(open(engine, {.session = {.name = name}}));
    request.session.name = name;
    request.max_tokens = bounded ? std::optional<std::int64_t>(50) : std::nullopt;
    auto collector = std::make_shared<Collector>();
    value(generate(engine, request, collector));
    if (bounded) {
      const GenerationSummary summary = collector->wait_done();
      EXPECT_EQ(summary.reason, FinishReason::eos);
      EXPECT_EQ(summary.completion_tokens, 1);
    } else {
      collector->wait_tokens(50);
    }
  }
}

}  // namespace
}  // namespace condensed::engine
