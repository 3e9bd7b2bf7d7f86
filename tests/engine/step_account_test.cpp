// Where the time before a token went: accounts on a made-up clock, and of a real engine.

#include "engine/step_account.h"

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "engine/token_accountant.h"
#include "tests/engine/engine_calls.h"

namespace condensed::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::Gt;

std::chrono::nanoseconds sum_of_parts(const StepAccount& account) {
  return account.step + account.other_steps + account.between_steps + account.idle;
}

/// An engine's thread whose clock the test moves.
class TokenAccountantTest : public testing::Test {
 protected:
  void pass(milliseconds time) { now_ += time; }
  void turn_to(Work work) { ledger_.turn_to(work, now_); }
  void begin_step() { ledger_.begin_step(now_); }

  Clock::time_point now_ = Clock::now();
  WorkLedger ledger_{now_};
};

TEST_F(TokenAccountantTest, EveryMomentBelongsToOnePart) {
  TokenAccountant accountant(ledger_, milliseconds(20), now_, now_);
  accountant.started(now_, false);
  begin_step();
  pass(milliseconds(5));
  EXPECT_FALSE(accountant.token(now_));  // fast enough
  pass(milliseconds(1));                 // the rest of that step
  turn_to(Work::commands);
  pass(milliseconds(2));
  turn_to(Work::idle);
  pass(milliseconds(30));
  turn_to(Work::commands);
  pass(milliseconds(3));
  turn_to(Work::preparing);
  pass(milliseconds(4));
  begin_step();
  pass(milliseconds(7));  // a step without a token of this session
  turn_to(Work::preparing);
  begin_step();
  ledger_.ran({.sessions = 3, .decode_rows = 2, .prompt_rows = 9, .passes = 4});
  pass(milliseconds(11));

  const auto account = accountant.token(now_);
  ASSERT_TRUE(account);
  EXPECT_EQ(account->interval, milliseconds(58));
  EXPECT_EQ(account->step, milliseconds(11));
  EXPECT_EQ(account->other_steps, milliseconds(8));
  EXPECT_EQ(account->commands, milliseconds(5));
  EXPECT_EQ(account->preparing, milliseconds(4));
  EXPECT_EQ(account->between_steps, milliseconds(9));
  EXPECT_EQ(account->idle, milliseconds(30));
  EXPECT_EQ(sum_of_parts(*account), account->interval);
  EXPECT_EQ(account->steps, 2);
  EXPECT_EQ(account->sessions, 3);
  EXPECT_EQ(account->decode_rows, 2);
  EXPECT_EQ(account->prompt_rows, 9);
  EXPECT_EQ(account->passes, 4);
}

TEST_F(TokenAccountantTest, AnIntervalAtTheThresholdIsNotSlow) {
  TokenAccountant accountant(ledger_, milliseconds(20), now_, now_);
  accountant.started(now_, false);
  begin_step();
  pass(milliseconds(20));
  EXPECT_FALSE(accountant.token(now_));
  turn_to(Work::commands);
  pass(milliseconds(1));
  begin_step();
  pass(milliseconds(20));
  EXPECT_TRUE(accountant.token(now_));
}

TEST_F(TokenAccountantTest, TheFirstIntervalBeginsWithTheRequest) {
  const auto arrival = now_;
  turn_to(Work::step);
  pass(milliseconds(6));
  turn_to(Work::commands);
  TokenAccountant accountant(ledger_, milliseconds(1), arrival, now_);
  ledger_.job_begun();
  pass(milliseconds(40));
  ledger_.job_ended();
  ledger_.session_woken();
  accountant.started(now_, true);
  begin_step();
  pass(milliseconds(3));
  const auto account = accountant.token(now_);
  ASSERT_TRUE(account);
  EXPECT_EQ(account->interval, milliseconds(49));
  EXPECT_EQ(account->starting, milliseconds(46));
  EXPECT_EQ(account->waking, milliseconds(40));
  EXPECT_EQ(sum_of_parts(*account), account->interval - account->starting);
  EXPECT_EQ(account->sessions_woken, 1);
  EXPECT_EQ(account->snapshots_under_way, 1);
}

TEST_F(TokenAccountantTest, JobsThatBeganBeforeOrEndAfterAreUnderWay) {
  ledger_.job_begun();  // ends before
  ledger_.job_ended();
  ledger_.job_begun();  // goes on for long
  TokenAccountant accountant(ledger_, milliseconds(1), now_, now_);
  accountant.started(now_, false);
  begin_step();
  ledger_.job_begun();
  ledger_.snapshot_copied();
  pass(milliseconds(2));
  auto account = accountant.token(now_);
  ASSERT_TRUE(account);
  EXPECT_EQ(account->snapshots_under_way, 2);
  EXPECT_EQ(account->snapshots_copied, 1);
  ledger_.job_ended();
  ledger_.job_ended();
  begin_step();
  pass(milliseconds(2));
  EXPECT_EQ(accountant.token(now_)->snapshots_under_way, 2);
  begin_step();
  pass(milliseconds(2));
  account = accountant.token(now_);
  EXPECT_EQ(account->snapshots_under_way, 0);
  EXPECT_EQ(account->snapshots_copied, 0);
}

TEST(ResourceUse, CountsPagesTouched) {
  constexpr std::size_t kBytes = 4 << 20;
  const ResourceUse before = resource_use();
  void* const fresh = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(fresh, MAP_FAILED);
  std::memset(fresh, 1, kBytes);
  const ResourceUse::Counts use = resource_use().since(before).process;
  EXPECT_GE(use.page_faults_minor, 1);
  ::munmap(fresh, kBytes);
}

class StepAccountTest : public testing::Test {
 protected:
  std::shared_ptr<Collector> generate_slow(Engine& engine, const std::string& session, std::int64_t n,
                                           std::optional<nanoseconds> above,
                                           std::int64_t budget = std::int64_t{1} << 40) {
    auto collector = std::make_shared<Collector>(budget);
    GenerateRequest request = greedy(session, n);
    request.account_above = above;
    value(generate(engine, request, collector));
    return collector;
  }
  std::vector<StepAccount> accounts_of(Collector& collector) {
    collector.wait_done();
    std::vector<StepAccount> accounts;
    for (const GeneratedToken& token : collector.tokens()) {
      if (token.account) accounts.push_back(*token.account);
    }
    return accounts;
  }
};

TEST_F(StepAccountTest, IsGivenToWhoAsksForSlowTokensOnly) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}, .input = std::vector<std::int32_t>{5, 6, 7}}));
  EXPECT_EQ(accounts_of(*generate_slow(engine, "a", 20, std::nullopt)).size(), 0U);
  EXPECT_EQ(accounts_of(*generate_slow(engine, "a", 20, std::chrono::hours(24))).size(), 0U);
  EXPECT_EQ(accounts_of(*generate_slow(engine, "a", 20, nanoseconds(0))).size(), 20U);
}

TEST_F(StepAccountTest, PartsAddUpWhateverElseRuns) {
  Engine engine(small_model(), small_options());
  for (const char* name : {"a", "b"}) {
    value(open(engine, {.session = {.name = name}, .input = std::vector<std::int32_t>(30, 9)}));
  }
  const auto b = generate_slow(engine, "b", 300, nanoseconds(0));
  const auto a = generate_slow(engine, "a", 300, nanoseconds(0));
  for (const auto& accounts : {accounts_of(*a), accounts_of(*b)}) {
    ASSERT_EQ(accounts.size(), 300U);
    for (std::size_t i = 0; i < accounts.size(); ++i) {
      EXPECT_EQ(sum_of_parts(accounts[i]), accounts[i].interval - accounts[i].starting);
      EXPECT_GE(accounts[i].steps, 1);
      EXPECT_GE(accounts[i].other_steps, nanoseconds(0));
      EXPECT_EQ(accounts[i].starting > nanoseconds(0), i == 0);
    }
  }
}

TEST_F(StepAccountTest, ItsOwnInputIsCounted) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}, .input = std::vector<std::int32_t>{5, 6, 7}}));
  const auto paused = generate_slow(engine, "a", 2, nanoseconds(0), 0);
  value(append(engine, "a", std::vector<std::int32_t>(10, 8)));
  paused->grant(2);
  engine.wake();
  const auto accounts = accounts_of(*paused);
  EXPECT_EQ(accounts.at(0).input_tokens, 10);
  EXPECT_EQ(accounts.at(1).input_tokens, 0);
}

TEST_F(StepAccountTest, AReaderThatDoesNotReadIsToBlame) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}, .input = std::vector<std::int32_t>{5, 6, 7}}));
  const auto slow = generate_slow(engine, "a", 6, nanoseconds(0), 3);
  slow->wait_tokens(3);
  value(stat(engine, "a"));
  value(stat(engine, "a"));  // between the two the engine has seen that it must wait
  std::this_thread::sleep_for(milliseconds(5));
  slow->grant(10);
  engine.wake();
  const auto accounts = accounts_of(*slow);
  EXPECT_GE(accounts.at(3).held, milliseconds(5));
  EXPECT_GE(accounts.at(3).idle, milliseconds(4));
  EXPECT_EQ(accounts.at(2).held, nanoseconds(0));
  EXPECT_EQ(accounts.at(4).held, nanoseconds(0));
}

TEST_F(StepAccountTest, WhoFindsNoRoomIsQueued) {
  EngineOptions options = small_options();
  options.max_batch_rows = 1;
  Engine engine(small_model(), options);
  for (const char* name : {"a", "b"}) {
    value(open(engine, {.session = {.name = name}, .input = std::vector<std::int32_t>{5}}));
  }
  const auto endless = generate_slow(engine, "b", std::int64_t{1} << 40, std::nullopt);
  const auto accounts = accounts_of(*generate_slow(engine, "a", 20, nanoseconds(0)));
  for (std::size_t i = 1; i < accounts.size(); ++i) {
    EXPECT_EQ(accounts[i].steps, 2);
    EXPECT_EQ(accounts[i].decode_rows, 1);
    EXPECT_THAT(accounts[i].queued, Gt(nanoseconds(0)));
    EXPECT_LT(accounts[i].queued, accounts[i].interval);
  }
}

TEST_F(StepAccountTest, WakingIsAccountedFor) {
  const ScratchFolder folder;
  EngineOptions options = options_with(folder);
  options.max_resident_sessions = 1;
  Engine engine(small_model(), options);
  value(open(engine, {.session = {.name = "a"}, .input = std::vector<std::int32_t>{5, 6, 7}}));
  value(open(engine, {.session = {.name = "b"}}));  // a goes to sleep
  const auto accounts = accounts_of(*generate_slow(engine, "a", 2, nanoseconds(0)));
  EXPECT_GT(accounts.at(0).waking, nanoseconds(0));
  EXPECT_LE(accounts.at(0).waking, accounts.at(0).starting);
  EXPECT_EQ(accounts.at(0).sessions_woken, 1);
  EXPECT_GE(accounts.at(0).snapshots_under_way, 1);
  EXPECT_EQ(accounts.at(1).waking, nanoseconds(0));
}

TEST_F(StepAccountTest, AResumedGenerationHasOneOnlyIfAskedAgain) {
  const ScratchFolder folder;
  {
    Engine engine(small_model(), options_with(folder));
    value(open(engine, {.session = {.name = "a"}, .input = std::vector<std::int32_t>{5, 6, 7}}));
    generate_slow(engine, "a", std::int64_t{1} << 40, nanoseconds(0))->wait_tokens(3);
  }
  Engine engine(small_model(), options_with(folder));
  GenerateRequest again{.session = {.name = "a"}, .resume = true};
  auto quiet = std::make_shared<Collector>();
  value(generate(engine, again, quiet));
  quiet->wait_tokens(3);
  EXPECT_FALSE(quiet->tokens().at(2).account);
  value(cancel(engine, "a"));
}

}  // namespace
}  // namespace condensed::engine
