#include "engine/engine.h"

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model.h"
#include "kernels/make_backend.h"

namespace condensed::engine {
namespace {

using testing::HasSubstr;

std::shared_ptr<Model> bundled_model(const char* weights = "stored") {
  return load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                    kernels::make_backend("auto", 2), parse_weight_format(weights));
}

EngineOptions small_options() {
  EngineOptions options;
  options.default_window = {4, 60};
  options.max_sessions = 40;
  return options;
}

/// Collects one generation; pauses it after `budget` tokens until more are granted.
class Collector : public GenerationListener {
 public:
  explicit Collector(std::int64_t budget = std::int64_t{1} << 40) : budget_(budget) {}

  bool accepts_token() const override { return budget_ > 0; }
  void on_token(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    --budget_;
    tokens_.push_back(token);
    changed_.notify_all();
  }
  void on_done(const GenerationSummary& summary) override {
    const std::lock_guard lock(mutex_);
    done_ = summary;
    changed_.notify_all();
  }

  void grant(std::int64_t n) { budget_ += n; }
  GenerationSummary wait_done() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_.has_value(); });
    return *done_;
  }
  void wait_tokens(std::size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tokens_.size() >= n; });
  }
  std::vector<GeneratedToken> tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::vector<std::int32_t> ids() const {
    std::vector<std::int32_t> out;
    for (const GeneratedToken& token : tokens()) out.push_back(token.token);
    return out;
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const GeneratedToken& token : tokens_) out += token.text;
    return done_ ? out + done_->text : out;
  }

 private:
  std::atomic<std::int64_t> budget_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GeneratedToken> tokens_;
  std::optional<GenerationSummary> done_;
};

/// The engine's requests as plain calls.
template <typename T, typename Call>
std::variant<T, Error> wait_for(Call&& call) {
  auto promise = std::make_shared<std::promise<std::variant<T, Error>>>();
  auto future = promise->get_future();
  call([promise](std::variant<T, Error> result) { promise->set_value(std::move(result)); });
  return future.get();
}

std::variant<SessionInfo, Error> open(Engine& engine, OpenRequest request) {
  return wait_for<SessionInfo>([&](auto reply) { engine.open(std::move(request), reply); });
}
std::variant<AppendResult, Error> append(Engine& engine, const std::string& session,
                                         std::variant<std::string, std::vector<std::int32_t>> input) {
  return wait_for<AppendResult>([&](auto reply) { engine.append(session, std::move(input), reply); });
}
std::variant<SessionInfo, Error> generate(Engine& engine, GenerateRequest request,
                                          std::shared_ptr<GenerationListener> listener) {
  return wait_for<SessionInfo>(
      [&](auto reply) { engine.generate(std::move(request), std::move(listener), reply); });
}
std::variant<SessionInfo, Error> stat(Engine& engine, const std::string& session) {
  return wait_for<SessionInfo>([&](auto reply) { engine.stat(session, reply); });
}

template <typename T>
T value(std::variant<T, Error> result) {
  if (const auto* error = std::get_if<Error>(&result)) {
    ADD_FAILURE() << error->message;
    return {};
  }
  return std::get<T>(std::move(result));
}
template <typename T>
Error error(const std::variant<T, Error>& result) {
  if (std::holds_alternative<T>(result)) {
    ADD_FAILURE() << "expected an error";
    return {};
  }
  return std::get<Error>(result);
}

GenerateRequest greedy(std::string session, std::int64_t max_tokens) {
  GenerateRequest request;
  request.session = std::move(session);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.temperature = 0;
  return request;
}

TEST(Engine, StreamsPastItsWindowInConstantMemory) {
  Engine engine(bundled_model(), small_options());
  const SessionInfo opened = value(open(engine, {.session = "a"}));
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
    Engine engine(bundled_model(), small_options());
    value(open(engine, {.session = "x"}));
    auto collector = std::make_shared<Collector>();
    value(append(engine, "x", prompt));
    request.session = "x";
    value(generate(engine, request, collector));
    collector->wait_done();
    return collector->ids();
  };
  const std::vector<std::int32_t> alone = run_alone();
  ASSERT_EQ(alone.size(), 150U);

  Engine engine(bundled_model(), small_options());
  std::vector<std::shared_ptr<Collector>> others;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "other" + std::to_string(i);
    value(open(engine, {.session = name}));
    others.push_back(std::make_shared<Collector>());
    GenerateRequest other = request;
    other.session = name;
    other.max_tokens.reset();
    other.sampling.seed = 100 + i;
    value(generate(engine, other, others.back()));
  }
  value(open(engine, {.session = "x"}));
  auto collector = std::make_shared<Collector>();
  // Another session reads a long prompt while this one starts.
  value(open(engine, {.session = "reader"}));
  std::string book;
  for (int i = 0; i < 200; ++i) book += "A sentence of a long prompt number " + std::to_string(i) + ". ";
  engine.append("reader", book, [](const auto&) {});
  value(append(engine, "x", prompt));
  request.session = "x";
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
      Engine engine(bundled_model(weights), options);
      std::vector<std::shared_ptr<Collector>> others;
      for (int i = 0; i < n_others; ++i) {
        const std::string name = "other" + std::to_string(i);
        value(open(engine, {.session = name, .input = "Number " + std::to_string(i)}));
        GenerateRequest endless = greedy(name, 1);
        endless.max_tokens.reset();
        value(generate(engine, endless, others.emplace_back(std::make_shared<Collector>())));
      }
      value(open(engine, {.session = "x", .input = std::string("It was a dark and stormy night")}));
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
    Engine engine(bundled_model(), small_options());
    value(open(engine, {.session = "a"}));
    for (const std::string& piece : pieces) value(append(engine, "a", piece));
    auto collector = std::make_shared<Collector>();
    value(generate(engine, greedy("a", 40), collector));
    collector->wait_done();
    return std::pair(value(stat(engine, "a")).position, collector->text());
  };
  EXPECT_EQ(continuation({text}), continuation({text.substr(0, 17), text.substr(17)}));
}

TEST(Engine, InputJoinsARunningGeneration) {
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "a"}));
  auto collector = std::make_shared<Collector>();
  GenerateRequest endless = greedy("a", 1);
  endless.max_tokens.reset();
  value(generate(engine, endless, collector));
  collector->wait_tokens(10);
  const AppendResult joined = value(append(engine, "a", std::vector<std::int32_t>{300, 301, 302}));
  EXPECT_EQ(joined.tokens, 3);
  collector->wait_tokens(collector->tokens().size() + 10);
  value(wait_for<SessionInfo>([&](auto reply) { engine.cancel("a", reply); }));
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
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "slow"}));
  value(open(engine, {.session = "fast"}));
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
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "a"}));
  value(open(engine, {.session = "b"}));
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
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "a"}));
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
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "a"}));
  EXPECT_TRUE(value(open(engine, {.session = "a"})).existed);
  EXPECT_EQ(error(open(engine, {.session = "a", .window = 5})).code, ErrorCode::session_exists);
  EXPECT_EQ(error(open(engine, {.session = "b", .sinks = -1})).code, ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = "b", .window = 0})).code, ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = "b", .window = std::int64_t{1} << 60})).code,
            ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = "b", .input = std::vector<std::int32_t>{1, -1}})).code,
            ErrorCode::bad_request);
  EXPECT_EQ(error(open(engine, {.session = "b", .input = std::string(9 << 20, 'x')})).code,
            ErrorCode::append_limit);
  EXPECT_EQ(error(append(engine, "b", std::string("x"))).code, ErrorCode::unknown_session);
  const Error bad_token = error(append(engine, "a", std::vector<std::int32_t>{1, 1024}));
  EXPECT_EQ(bad_token.code, ErrorCode::bad_request);
  EXPECT_THAT(bad_token.message, HasSubstr("1024"));
  EXPECT_EQ(error(append(engine, "a", std::string(9 << 20, 'x'))).code, ErrorCode::append_limit);
  EXPECT_EQ(error(wait_for<SessionInfo>([&](auto reply) { engine.cancel("a", reply); })).code,
            ErrorCode::not_generating);
  GenerateRequest bad = greedy("a", 5);
  bad.sampling.top_p = 2;
  EXPECT_THAT(error(generate(engine, bad, std::make_shared<Collector>())).message, HasSubstr("top_p"));
  auto collector = std::make_shared<Collector>(0);
  value(generate(engine, greedy("a", 5), collector));
  EXPECT_EQ(error(generate(engine, greedy("a", 5), std::make_shared<Collector>())).code,
            ErrorCode::session_busy);
  value(open(engine, {.session = "empty", .bos = false}));
  EXPECT_EQ(error(generate(engine, greedy("empty", 5), std::make_shared<Collector>())).code,
            ErrorCode::bad_request);
  for (int i = 0; i < 38; ++i) value(open(engine, {}));
  EXPECT_EQ(error(open(engine, {})).code, ErrorCode::session_limit);
}

TEST(Engine, ClosingEndsTheGenerationAndFreesTheName) {
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "a"}));
  auto collector = std::make_shared<Collector>();
  GenerateRequest endless = greedy("a", 1);
  endless.max_tokens.reset();
  value(generate(engine, endless, collector));
  collector->wait_tokens(3);
  value(wait_for<SessionInfo>([&](auto reply) { engine.close("a", reply); }));
  EXPECT_EQ(collector->wait_done().reason, FinishReason::closed);
  EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::unknown_session);
  EXPECT_FALSE(value(open(engine, {.session = "a"})).existed);
}

TEST(Engine, ShutdownTellsEveryListenerAndAnswersWhatWaits) {
  auto collector = std::make_shared<Collector>();
  std::atomic<int> refused = 0;
  Engine engine(bundled_model(), small_options());
  value(open(engine, {.session = "a"}));
  value(open(engine, {.session = "b"}));
  GenerateRequest endless = greedy("a", 1);
  endless.max_tokens.reset();
  value(generate(engine, endless, collector));
  collector->wait_tokens(3);
  std::string book(1 << 20, 'x');
  engine.append("b", book,
                [&](const auto& result) { refused += std::holds_alternative<Error>(result) ? 1 : 0; });
  engine.shutdown();
  EXPECT_EQ(collector->wait_done().reason, FinishReason::shutdown);
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::shutting_down);
}

TEST(Engine, AnEndlessGenerationGoesOnPastEndOfSequence) {
  Engine engine(bundled_model(), small_options());
  GenerateRequest request;
  request.sampling.temperature = 0;
  request.sampling.logit_bias = {{2, 100.0F}};  // nothing but </s>
  for (const bool bounded : {true, false}) {
    const std::string name = bounded ? "bounded" : "endless";
    value(open(engine, {.session = name}));
    request.session = name;
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
