// Sessions that leave memory, and the process, and come back as if they had not.

#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "tests/engine/engine_calls.h"
#include "tests/engine/scratch_folder.h"

namespace condensed::engine {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// Everything that a sampler can depend on.
GenerateRequest sampled(std::string session, std::int64_t max_tokens) {
  GenerateRequest request = greedy(std::move(session), max_tokens);
  request.sampling.temperature = 0.9;
  request.sampling.top_p = 0.95;
  request.sampling.repetition_penalty = 1.2;
  request.sampling.frequency_penalty = 0.1;
  request.sampling.logit_bias = {{300, 0.7F}};
  request.sampling.seed = 11;
  return request;
}

std::vector<std::int32_t> run(Engine& engine, const GenerateRequest& request) {
  auto collector = std::make_shared<Collector>();
  value(generate(engine, request, collector));
  collector->wait_done();
  return collector->ids();
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    out.push_back(entry.path());
  }
  return out;
}

const std::string kPrompt = "It was a dark and stormy night, and the captain";

TEST(Hibernation, ASessionGoesOnAfterARestartAsItsTwinThatNeverStopped) {
  const ScratchFolder folder;
  Engine undisturbed(small_model(), small_options());
  value(open(undisturbed, {.session = {.name = "a"}, .input = kPrompt}));
  std::vector<std::int32_t> expected = run(undisturbed, sampled("a", 150));
  value(append(undisturbed, "a", std::string(" Then, \xE2\x82\xAC and more.")));
  const std::vector<std::int32_t> more = run(undisturbed, sampled("a", 150));
  expected.insert(expected.end(), more.begin(), more.end());

  std::vector<std::int32_t> found;
  {
    Engine engine(small_model(), options_with(folder));
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    found = run(engine, sampled("a", 150));
    const SavedSnapshot saved = value(save(engine, "a"));
    EXPECT_EQ(saved.position, value(stat(engine, "a")).position);
    EXPECT_EQ(value(stat(engine, "a")).saved_position, saved.position);
  }
  Engine engine(small_model(), options_with(folder));
  EXPECT_TRUE(value(stat(engine, "a")).asleep);
  value(append(engine, "a", std::string(" Then, \xE2\x82\xAC and more.")));
  EXPECT_FALSE(value(stat(engine, "a")).asleep);
  const std::vector<std::int32_t> rest = run(engine, sampled("a", 150));
  found.insert(found.end(), rest.begin(), rest.end());
  EXPECT_EQ(found, expected);
}

TEST(Hibernation, AnInterruptedGenerationIsResumedToTheToken) {
  const ScratchFolder folder;
  GenerateRequest request = sampled("a", 400);
  request.stop = {"no such text at all", "nor this"};
  request.n_logprobs = 2;
  Engine undisturbed(small_model(), small_options());
  value(open(undisturbed, {.session = {.name = "a"}, .input = kPrompt}));
  auto whole = std::make_shared<Collector>();
  value(generate(undisturbed, request, whole));
  whole->wait_done();

  std::vector<std::int32_t> found;
  std::string text;
  for (int part = 0;; ++part) {
    Engine engine(small_model(), options_with(folder));
    if (part == 0) {
      value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    } else {
      EXPECT_TRUE(value(stat(engine, "a")).interrupted);
      request.resume = true;
    }
    auto collector = std::make_shared<Collector>(part < 3 ? 70 + part : 1000);
    value(generate(engine, request, collector));
    if (part < 3) {
      collector->wait_tokens(70 + part);
      engine.shutdown();
    }
    const GenerationSummary summary = collector->wait_done();
    EXPECT_EQ(summary.completion_tokens, static_cast<std::int64_t>(collector->ids().size()));
    const std::vector<std::int32_t> ids = collector->ids();
    found.insert(found.end(), ids.begin(), ids.end());
    text += collector->text();
    if (part == 3) {
      EXPECT_EQ(summary.reason, FinishReason::length);
      EXPECT_FALSE(value(stat(engine, "a")).interrupted);
      break;
    }
    EXPECT_EQ(summary.reason, FinishReason::shutdown);
    EXPECT_TRUE(summary.resumable);
  }
  EXPECT_EQ(found, whole->ids());
  EXPECT_EQ(text, whole->text());
}

TEST(Hibernation, ManySessionsShareMemoryForFew) {
  const ScratchFolder folder;
  constexpr int n_sessions = 40;
  EngineOptions options = options_with(folder);
  options.max_resident_sessions = 5;
  Engine engine(small_model(), options);
  Engine undisturbed(small_model(), small_options());
  const auto name = [](int i) { return "s" + std::to_string(i); };
  for (int i = 0; i < n_sessions; ++i) {
    for (Engine* each : {&engine, &undisturbed}) {
      value(open(*each, {.session = {.name = name(i)}, .input = "Chapter " + std::to_string(i) + ". The"}));
    }
  }
  std::mt19937 random(5);
  for (int touch = 0; touch < 200; ++touch) {
    const std::string session = name(static_cast<int>(random() % n_sessions));
    GenerateRequest request = sampled(session, 12);
    request.sampling.seed = touch;
    ASSERT_EQ(run(engine, request), run(undisturbed, request)) << session;
    const EngineInfo info = value(wait_for<EngineInfo>([&](auto reply) { engine.stat_engine(reply); }));
    ASSERT_LE(info.sessions - info.asleep, 5);
    ASSERT_EQ(info.sessions, n_sessions);
  }
}

TEST(Hibernation, TheLimitMayBeOneOfBytes) {
  const ScratchFolder folder;
  EngineOptions options = options_with(folder);
  const auto model = small_model();
  const cache::CacheShape shape{.n_owners = model->plan.n_owners(),
                                .n_kv_heads = model->config.n_kv_heads,
                                .head_dim = model->config.head_dim};
  options.max_cache_bytes = 3 * cache::CondensedCache::bytes_when_full(shape, options.default_window);
  Engine engine(model, options);
  for (int i = 0; i < 10; ++i) {
    value(open(engine, {.session = {.name = "s" + std::to_string(i)}, .input = kPrompt}));
    const EngineInfo info = value(wait_for<EngineInfo>([&](auto reply) { engine.stat_engine(reply); }));
    EXPECT_LE(info.sessions - info.asleep, 3);
  }
  const Error too_large = error(open(engine, {.session = {.name = "large"}, .window = 1000}));
  EXPECT_EQ(too_large.code, ErrorCode::memory_limit);
  EXPECT_EQ(too_large.limit, "max_cache_bytes");
}

TEST(Hibernation, WithoutAStateFolderAFullMemoryIsALimit) {
  EngineOptions options = small_options();
  options.max_resident_sessions = 2;
  Engine engine(small_model(), options);
  value(open(engine, {}));
  value(open(engine, {.session = {.name = "b"}}));
  const Error refused = error(open(engine, {.session = {.name = "c"}}));
  EXPECT_EQ(refused.code, ErrorCode::memory_limit);
  EXPECT_EQ(refused.limit, "max_resident_sessions");
  EXPECT_TRUE(refused.retry_after_ms.has_value());
  EXPECT_EQ(error(stat(engine, "c")).code, ErrorCode::unknown_session);
  EXPECT_EQ(error(save(engine, "b")).code, ErrorCode::no_state_dir);
  value(close(engine, "b"));
  value(open(engine, {.session = {.name = "c"}}));
}

TEST(Hibernation, AForkSharesNothingWithItsOrigin) {
  for (const bool on_disk : {false, true}) {
    const ScratchFolder folder;
    Engine engine(small_model(), on_disk ? options_with(folder) : small_options());
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    run(engine, sampled("a", 100));
    EXPECT_EQ(value(fork(engine, "a", "b")).position, value(stat(engine, "a")).position);
    const std::vector<std::int32_t> a = run(engine, sampled("a", 100));
    EXPECT_EQ(run(engine, sampled("b", 100)), a);
    value(append(engine, "b", std::string(" and something else")));
    EXPECT_NE(value(stat(engine, "b")).position, value(stat(engine, "a")).position);
    EXPECT_EQ(error(fork(engine, "a", "b")).code, ErrorCode::session_exists);
    EXPECT_EQ(error(fork(engine, "x", "y")).code, ErrorCode::unknown_session);
    value(close(engine, "a"));
    run(engine, sampled("b", 10));
  }
}

TEST(Hibernation, AForkTakenInTheMiddleOfAGenerationCanBeResumed) {
  Engine engine(small_model(), small_options());
  value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
  auto collector = std::make_shared<Collector>(30);
  value(generate(engine, sampled("a", 100), collector));
  collector->wait_tokens(30);
  EXPECT_TRUE(value(fork(engine, "a", "b")).interrupted);
  collector->grant(1000);
  engine.wake();
  collector->wait_done();
  GenerateRequest resume;
  resume.session.name = "b";
  resume.resume = true;
  const std::vector<std::int32_t> rest = run(engine, resume);
  const std::vector<std::int32_t> whole = collector->ids();
  EXPECT_EQ(rest, std::vector<std::int32_t>(whole.begin() + 30, whole.end()));
  EXPECT_EQ(error(generate(engine, resume, std::make_shared<Collector>())).code,
            ErrorCode::nothing_to_resume);
}

TEST(Hibernation, RenamedSessionsKeepTheirStateOnDiskToo) {
  const ScratchFolder folder;
  std::vector<std::int32_t> expected;
  {
    Engine engine(small_model(), options_with(folder));
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    value(open(engine, {.session = {.name = "taken"}}));
    value(save(engine, "a"));
    EXPECT_EQ(error(rename(engine, "a", "taken")).code, ErrorCode::session_exists);
    EXPECT_EQ(value(rename(engine, "a", "b")).session.name, "b");
    EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::unknown_session);
    value(fork(engine, "b", "twin"));
    expected = run(engine, sampled("twin", 50));
    value(close(engine, "twin"));
  }
  Engine engine(small_model(), options_with(folder));
  value(rename(engine, "b", "c"));  // asleep
  value(open(engine, {.session = {.name = "b"}}));
  EXPECT_EQ(run(engine, sampled("c", 50)), expected);
}

TEST(Hibernation, AClosedSessionStaysClosed) {
  const ScratchFolder folder;
  {
    Engine engine(small_model(), options_with(folder));
    for (const char* name : {"resident", "asleep"}) {
      value(open(engine, {.session = {.name = name}, .input = kPrompt}));
      value(save(engine, name));
    }
    value(close(engine, "resident"));
  }
  {
    Engine engine(small_model(), options_with(folder));
    EXPECT_EQ(error(stat(engine, "resident")).code, ErrorCode::unknown_session);
    EXPECT_TRUE(value(stat(engine, "asleep")).asleep);
    value(close(engine, "asleep"));
  }
  EXPECT_TRUE(files_in(folder.path() / "sessions").empty());
}

TEST(Hibernation, UndoTakesTokensBackAsIfTheyHadNeverBeen) {
  Engine engine(small_model(), small_options());
  // The window of 60 has not evicted anything when "a" is undone, and has when "b" is.
  for (const int n_first : {20, 300}) {
    const std::string name = "n" + std::to_string(n_first);
    value(open(engine, {.session = {.name = name}, .input = kPrompt}));
    run(engine, sampled(name, n_first));
    const SessionInfo before = value(stat(engine, name));
    const std::string twin = name + "twin";
    value(fork(engine, name, twin));
    run(engine, sampled(name, 15));
    const SessionInfo undone = value(undo(engine, name, 15));
    EXPECT_EQ(undone.position, before.position);
    const std::vector<std::int32_t> again = run(engine, sampled(name, 15));
    if (n_first == 20) {
      EXPECT_EQ(again, run(engine, sampled(twin, 15)));
    } else {
      EXPECT_EQ(undone.cached, before.cached - 15);  // what was evicted for them is gone
    }
    const Error too_far = error(undo(engine, name, n_first == 20 ? 1000 : 62));
    EXPECT_EQ(too_far.code, ErrorCode::undo_limit);
    EXPECT_THAT(too_far.message, HasSubstr("reaches back to position"));
  }
  const SessionInfo all = value(stat(engine, "n20twin"));
  EXPECT_EQ(value(undo(engine, "n20twin", all.position)).position, 0);
  EXPECT_EQ(error(generate(engine, sampled("n20twin", 5), std::make_shared<Collector>())).code,
            ErrorCode::bad_request);  // no tokens to go on from
}

TEST(Hibernation, AnExportedSessionGoesOnInAnotherEngine) {
  const ScratchFolder folder;
  Engine here(small_model(), options_with(folder));
  Engine there(small_model(), small_options());
  value(open(here, {.session = {.name = "a"}, .input = kPrompt}));
  run(here, sampled("a", 100));
  const ExportedSession exported = value(export_session(here, "a"));
  EXPECT_EQ(value(import_session(there, "z", exported.file)).position, exported.position);
  EXPECT_EQ(error(import_session(there, "z", exported.file)).code, ErrorCode::session_exists);
  const std::vector<std::int32_t> expected = run(here, sampled("a", 100));
  EXPECT_EQ(run(there, sampled("z", 100)), expected);
  EXPECT_EQ(error(import_session(there, "y", {})).code, ErrorCode::snapshot_refused);
  std::vector<std::byte> damaged = exported.file;
  damaged[damaged.size() / 2] ^= std::byte{4};
  EXPECT_EQ(error(import_session(there, "y", damaged)).code, ErrorCode::snapshot_refused);
  // Of another kind of cache: its numbers would be nonsense here.
  EngineOptions other = small_options();
  other.cache_dtype = kernels::DType::f16;
  Engine foreign(small_model(), other);
  EXPECT_THAT(error(import_session(foreign, "y", exported.file)).message, HasSubstr("cache"));
}

TEST(Hibernation, WhatACrashMayCostFollowsThePolicy) {
  const ScratchFolder folder;
  EngineOptions options = options_with(folder);
  const auto saved_position = [&](Engine& engine) {
    return value(stat(engine, "a")).saved_position.value_or(-1);
  };
  {
    options.snapshots = parse_snapshot_policy("on_append");
    Engine engine(small_model(), options);
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    EXPECT_EQ(saved_position(engine), value(stat(engine, "a")).position);
    value(append(engine, "a", std::string(" more")));
    EXPECT_EQ(saved_position(engine), value(stat(engine, "a")).position);
    value(close(engine, "a"));
  }
  {
    options.snapshots = parse_snapshot_policy("every_tokens=20");
    Engine engine(small_model(), options);
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    auto collector = std::make_shared<Collector>(100);
    value(generate(engine, sampled("a", 100), collector));
    while (saved_position(engine) < 80) {
    }
    collector->wait_done();
    value(close(engine, "a"));
  }
  options.snapshots = parse_snapshot_policy("on_idle=1");
  Engine engine(small_model(), options);
  value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
  run(engine, sampled("a", 30));
  while (saved_position(engine) < value(stat(engine, "a")).position) {
  }
}

TEST(Hibernation, InputThatJoinsAGenerationIsSavedWithAllOfItsState) {
  const ScratchFolder folder;
  EngineOptions options = options_with(folder);
  options.snapshots = parse_snapshot_policy("on_append");
  options.prompt.mode = PromptMode::adaptive;  // the last token of an input may run with the others
  std::int64_t appended = 0;
  {
    Engine engine(small_model(), options);
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    auto collector = std::make_shared<Collector>();
    GenerateRequest endless = sampled("a", 1);
    endless.max_tokens.reset();
    value(generate(engine, endless, collector));
    for (int i = 0; i < 20; ++i) {
      appended = value(append(engine, "a", std::vector<std::int32_t>(1 + i % 3, 300))).position;
    }
    fs::copy(folder.path() / "sessions", folder.path() / "copy");  // as a crash would leave it
  }
  fs::remove_all(folder.path() / "sessions");
  fs::rename(folder.path() / "copy", folder.path() / "sessions");
  Engine engine(small_model(), options);
  EXPECT_GE(value(stat(engine, "a")).position, appended);
  GenerateRequest resume;
  resume.session.name = "a";
  resume.resume = true;
  auto collector = std::make_shared<Collector>();
  value(generate(engine, resume, collector));
  collector->wait_tokens(5);
}

TEST(Hibernation, ASessionThatRestsLongGoesToSleepByItself) {
  const ScratchFolder folder;
  EngineOptions options = options_with(folder);
  options.hibernate_after = std::chrono::milliseconds(20);
  Engine engine(small_model(), options);
  value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
  while (!value(stat(engine, "a")).asleep) {
  }
  EXPECT_EQ(run(engine, sampled("a", 20)).size(), 20U);
}

TEST(Hibernation, ADamagedFileIsRefusedWithItsReasonAndSetAside) {
  const ScratchFolder folder;
  std::vector<std::string> warnings;
  EngineOptions options = options_with(folder);
  options.warn = [&](const std::string& warning) { warnings.push_back(warning); };
  {
    Engine engine(small_model(), options);
    value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
    value(open(engine, {.session = {.name = "b"}, .input = kPrompt}));
  }
  {  // "a" in its cache, "b" in its fields
    std::fstream a(folder.path() / "sessions" / "0.a.snapshot",
                   std::ios::in | std::ios::out | std::ios::binary);
    a.seekp(-5, std::ios::end).put('\x55');
    std::fstream b(folder.path() / "sessions" / "0.b.snapshot",
                   std::ios::in | std::ios::out | std::ios::binary);
    b.seekp(100).put('\x55');
    std::ofstream(folder.path() / "sessions" / "stranger") << "not a session";
    std::ofstream(folder.path() / "sessions" / "0.c.snapshot.new") << "half";
  }
  Engine engine(small_model(), options);
  EXPECT_EQ(error(stat(engine, "b")).code, ErrorCode::unknown_session);
  const Error refused = error(append(engine, "a", std::string("x")));
  EXPECT_EQ(refused.code, ErrorCode::snapshot_refused);
  EXPECT_THAT(refused.message, HasSubstr("checksum"));
  EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::unknown_session);
  EXPECT_TRUE(files_in(folder.path() / "sessions").empty());
  EXPECT_EQ(files_in(folder.path() / "set-aside").size(), 3U);
  EXPECT_EQ(warnings.size(), 3U);
  value(open(engine, {.session = {.name = "a"}}));
}

TEST(Hibernation, AnotherModelsSessionsAreSetAside) {
  const ScratchFolder folder;
  {
    Engine engine(small_model(), options_with(folder));
    value(open(engine, {.session = {.name = "a"}}));
  }
  std::string warned;
  EngineOptions options = options_with(folder);
  options.warn = [&](const std::string& warning) { warned = warning; };
  Engine engine(small_model("q8"), options);
  EXPECT_EQ(error(stat(engine, "a")).code, ErrorCode::unknown_session);
  EXPECT_THAT(warned, HasSubstr("another model"));
  EXPECT_EQ(files_in(folder.path() / "set-aside").size(), 1U);
}

TEST(Hibernation, AFolderHasOneDaemon) {
  const ScratchFolder folder;
  Engine engine(small_model(), options_with(folder));
  EXPECT_THROW(Engine(small_model(), options_with(folder)), InputError);
  EngineOptions unwritable = options_with(folder);
  unwritable.state_dir = "/proc/no-such-folder";
  EXPECT_THROW(Engine(small_model(), unwritable), InputError);
}

TEST(Hibernation, WhenTheFolderCannotBeWrittenSessionsStayAndSaySo) {
  const ScratchFolder folder;
  std::atomic<int> warnings = 0;
  EngineOptions options = options_with(folder);
  options.max_resident_sessions = 1;
  options.warn = [&](const std::string&) { ++warnings; };
  Engine engine(small_model(), options);
  value(open(engine, {.session = {.name = "a"}, .input = kPrompt}));
  fs::rename(folder.path() / "sessions", folder.path() / "elsewhere");
  EXPECT_EQ(error(save(engine, "a")).code, ErrorCode::snapshot_failed);
  EXPECT_GE(warnings, 1);
  EXPECT_EQ(run(engine, sampled("a", 20)).size(), 20U);
  fs::rename(folder.path() / "elsewhere", folder.path() / "sessions");
  value(save(engine, "a"));
  value(open(engine, {.session = {.name = "b"}}));
  EXPECT_TRUE(value(stat(engine, "a")).asleep);
}

TEST(Hibernation, SessionsOfDifferentUsersDoNotMeet) {
  const ScratchFolder folder;
  Engine engine(small_model(), options_with(folder));
  value(open(engine, {.session = {.user = 1000, .name = "a"}, .input = kPrompt}));
  EXPECT_FALSE(value(open(engine, {.session = {.user = 1001, .name = "a"}})).existed);
  const auto list = [&](std::optional<std::uint32_t> user) {
    return value(wait_for<std::vector<SessionInfo>>([&](auto reply) { engine.list(user, reply); })).size();
  };
  EXPECT_EQ(list(1000), 1U);
  EXPECT_EQ(list(0), 0U);
  EXPECT_EQ(list(std::nullopt), 2U);
}

TEST(SnapshotPolicy, ReadsWhatItMayBe) {
  EXPECT_FALSE(parse_snapshot_policy("never").on_idle.has_value());
  const SnapshotPolicy all = parse_snapshot_policy("every_tokens=7,on_append,on_idle=50");
  EXPECT_TRUE(all.on_append);
  EXPECT_EQ(all.every_tokens, 7);
  EXPECT_EQ(all.on_idle, std::chrono::milliseconds(50));
  for (const char* bad : {"", "often", "every_tokens=0", "every_tokens=x", "on_append,", "never,on_append"}) {
    EXPECT_THROW(parse_snapshot_policy(bad), InputError) << bad;
  }
}

}  // namespace
}  // namespace condensed::engine
