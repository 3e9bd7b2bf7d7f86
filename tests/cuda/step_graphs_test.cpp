// Steps of many streams: what a captured step computes when it runs again with other numbers.

#include <new>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "engine/prompt_planner.h"
#include "kernels/cuda/device_error.h"
#include "kernels/cuda/device_queue.h"
#include "kernels/make_backend.h"
#include "tests/cuda/device_stream.h"

namespace condensed::engine::test {
namespace {

constexpr cache::StreamWindow kWindow{.sinks = 2, .window = 9};
constexpr const char* kCase = "condensed-w2-stream";

/// The logits of stream s on its own, after each of its tokens, on the CPU's reference.
std::vector<std::vector<float>> alone(const std::vector<std::int32_t>& tokens) {
  Streams streams(load_model(folder_of(kCase), kernels::make_backend("reference", 1)), 1, kWindow, 1);
  std::vector<std::vector<float>> logits;
  for (const std::int32_t token : tokens) {
    logits.push_back(streams.step({0}, {token}).front());
  }
  return logits;
}

std::vector<std::int32_t> random_tokens(std::mt19937& random, std::size_t n, int vocab) {
  std::vector<std::int32_t> tokens(n);
  std::ranges::generate(tokens, [&] { return std::uniform_int_distribution<int>(0, vocab - 1)(random); });
  return tokens;
}

TEST(Steps, StreamsThatComeAndGoComputeWhatTheyDoAlone) {
  std::mt19937 random(7);
  constexpr std::int64_t kStreams = 11, kTokens = 14;
  Streams streams(device_model(kCase), kStreams, kWindow, kStreams);
  const int vocab = streams.model().config.vocab_size;
  std::vector<std::vector<std::int32_t>> tokens(kStreams);
  std::vector<std::vector<std::vector<float>>> expected;
  std::vector<std::size_t> done(kStreams);
  for (auto& stream : tokens) {
    stream = random_tokens(random, kTokens, vocab);
    expected.push_back(alone(stream));
  }
  for (int step = 0; step < 20; ++step) {
    std::vector<std::int64_t> running;
    std::vector<std::int32_t> next;
    for (std::int64_t s = 0; s < kStreams; ++s) {
      if (done[s] < kTokens && random() % 3 != 0) {
        running.push_back(s);
        next.push_back(tokens[s][done[s]]);
      }
    }
    if (running.empty()) {
      continue;
    }
    const auto logits = streams.step(running, next);
    for (std::size_t i = 0; i < running.size(); ++i) {
      const std::int64_t s = running[i];
      ASSERT_LE(largest_error(logits[i], expected[s][done[s]]), 1e-4) << "stream " << s << ", step " << step;
      ++done[s];
    }
  }
}

TEST(Steps, RowsOfFloat32DoNotDependOnTheBatch) {
  constexpr std::int64_t kStreams = 9;
  const std::vector<std::int32_t> tokens = {5, 9, 2, 17, 4, 8, 8, 1, 30};
  Streams together(device_model(kCase), kStreams, kWindow, kStreams);
  Streams apart(device_model(kCase), kStreams, kWindow, kStreams);
  std::vector<std::int64_t> all(kStreams);
  std::iota(all.begin(), all.end(), 0);
  for (int step = 0; step < 12; ++step) {  // past the first eviction
    const auto logits = together.step(all, tokens);
    for (const std::int64_t s : {std::int64_t{0}, std::int64_t{6}}) {
      EXPECT_EQ(apart.step({s}, {tokens[s]}).front(), logits[s]) << "stream " << s << ", step " << step;
    }
  }
}

TEST(Steps, AreCapturedOncePerBucketAndLayout) {
  Streams streams(device_model(kCase), 16, {.sinks = 2, .window = 6}, 16);
  std::vector<std::int64_t> all(16);
  std::iota(all.begin(), all.end(), 0);
  const std::vector<std::int32_t> tokens(16, 3);
  const auto run = [&](std::size_t n) {
    const long before = emulation::counts().captures;
    streams.step({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n)},
                 {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(n)});
    return emulation::counts().captures - before;
  };
  for (int step = 0; step < 12; ++step) {  // until every window has evicted
    run(16);
  }
  for (const std::size_t n : {1U, 2U, 3U, 5U}) {
    EXPECT_EQ(run(n), 0) << n << " streams";  // one by one
    run(n);
  }
  for (const std::size_t n : {16U, 1U, 2U, 4U, 6U, 7U, 8U, 9U, 13U}) {
    EXPECT_EQ(run(n), 0) << n << " streams";
  }
}

TEST(Steps, AreLaidOutAlikeWhoeverWantsLogitsOrTokens) {
  Streams streams(device_model(kCase), 4, {.sinks = 2, .window = 6}, 4);
  const std::vector<std::int32_t> tokens = {4, 5, 6, 7};
  const auto run = [&](int n_logits) {
    std::vector<Slice> slices;
    for (std::int64_t s = 0; s < 4; ++s) {
      slices.push_back({.cache = &streams.cache(s),
                        .tokens = {&tokens[static_cast<std::size_t>(s)], 1},
                        .logits_for = s < n_logits ? LogitsFor::last : LogitsFor::token});
    }
    const long before = emulation::counts().captures;
    const long launches = emulation::counts().graph_launches;
    streams.transformer().run(slices, {});
    EXPECT_EQ(std::ssize(streams.transformer().chosen_tokens()), 4 - n_logits);
    return std::pair(emulation::counts().captures - before, emulation::counts().graph_launches - launches);
  };
  for (int step = 0; step < 12; ++step) {  // until every window has evicted
    run(1);
  }
  for (const int n_logits : {2, 3, 0, 1}) {
    EXPECT_EQ(run(n_logits), std::pair(0L, 1L)) << n_logits;
  }
}

TEST(Steps, TheirCostIsMeasuredOnceTheyAreCaptured) {
  Streams streams(device_model(kCase), 2, kWindow, 0);
  const long before = emulation::counts().graph_launches;
  PromptPlanner::measured(streams.model(), streams.transformer(), {.mode = PromptMode::automatic});
  // Of one row and of two: the one with the capture, and two that count.
  EXPECT_EQ(emulation::counts().graph_launches - before, 2 * 3);
}

TEST(Steps, NoWaitInsideAStepAndNoKernelOutsideItsGraph) {
  Streams streams(device_model(kCase), 2, kWindow, 2);
  for (int step = 0; step < 14; ++step) {
    streams.step({0, 1}, {1, 2});
  }
  const emulation::Counts before = emulation::counts();
  streams.step({0, 1}, {3, 4});
  EXPECT_EQ(emulation::counts().graph_launches, before.graph_launches + 1);
  EXPECT_EQ(emulation::counts().synchronisations,
            before.synchronisations + 2);                      // its end; the logits' way here
  EXPECT_EQ(emulation::counts().kernels, before.kernels + 1);  // the copy of the logits
}

TEST(Steps, AreFewKernels) {
  Streams streams(device_model(kCase), 1, kWindow, 1);
  emulation::Counts before;
  do {
    before = emulation::counts();
    streams.step({0}, {1});
  } while (emulation::counts().captures == before.captures);
  // Parameters, angles, embedding; the last row, its norm, its logits; what joins the cache; the logits' way
  // here.
  constexpr long kRest = 8;
  EXPECT_EQ(emulation::counts().kernels - before.kernels, 7 * streams.model().config.n_layers + kRest);
}

TEST(Steps, KernelsOverlapWhereTheDeviceCan) {
  const auto run = [](int compute_capability, int ptx_version) {
    emulation::set_compute_capability(compute_capability);
    emulation::set_ptx_version(ptx_version);
    const long before = emulation::counts().overlapping;
    Streams streams(device_model(kCase), 1, kWindow, 1);
    std::vector<float> logits;
    for (int step = 0; step < 6; ++step) {
      logits = streams.step({0}, {step}).front();
    }
    emulation::set_compute_capability(9);
    emulation::set_ptx_version(90);
    return std::pair(logits, emulation::counts().overlapping - before);
  };
  const auto [logits_overlapping, n_overlapping] = run(9, 90);
  EXPECT_GT(n_overlapping, 0);
  // A later device may run what the driver made of PTX for 8.0, which does not wait.
  for (const auto& [capability, ptx] : {std::pair(8, 80), std::pair(9, 80)}) {
    const auto [logits_in_turn, n_in_turn] = run(capability, ptx);
    EXPECT_EQ(n_in_turn, 0);
    EXPECT_EQ(logits_overlapping, logits_in_turn);
  }
}

TEST(Steps, SomeWithoutLogits) {
  Streams streams(device_model(kCase), 3, kWindow, 3);
  const std::vector<std::int32_t> tokens = {4, 5, 6};
  for (int round = 0; round < 3; ++round) {
    std::vector<Slice> slices;
    for (std::int64_t s = 0; s < 3; ++s) {
      slices.push_back({.cache = &streams.cache(s),
                        .tokens = {&tokens[static_cast<std::size_t>(s)], 1},
                        .logits_for = s == round ? LogitsFor::none : LogitsFor::last});
    }
    streams.transformer().run(slices, {});
    ASSERT_EQ(std::ssize(streams.transformer().logits()), 2 * streams.model().config.vocab_size);
  }
  const auto expected = [&](std::int32_t token) {
    const auto logits = alone({token, token, token}).back();
    return logits;
  };
  const auto vocab = static_cast<std::size_t>(streams.model().config.vocab_size);
  const auto logits = streams.transformer().logits();
  EXPECT_LE(largest_error({logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(vocab)}, expected(4)),
            1e-4);
  EXPECT_LE(largest_error({logits.begin() + static_cast<std::ptrdiff_t>(vocab), logits.end()}, expected(5)),
            1e-4);
}

TEST(Steps, GreedyTokensAreThoseOfTheLogits) {
  Streams some(device_model(kCase), 4, kWindow, 4);
  Streams all(device_model(kCase), 4, kWindow, 4);
  const std::vector<std::int32_t> tokens = {4, 5, 6, 7};
  const auto vocab = static_cast<std::size_t>(some.model().config.vocab_size);
  for (const std::vector<LogitsFor>& asked :
       {std::vector{LogitsFor::token, LogitsFor::last, LogitsFor::none, LogitsFor::token},
        std::vector{LogitsFor::none, LogitsFor::token, LogitsFor::last, LogitsFor::last},
        std::vector{LogitsFor::token, LogitsFor::token, LogitsFor::token, LogitsFor::token}}) {
    std::vector<Slice> slices;
    for (std::size_t s = 0; s < 4; ++s) {
      slices.push_back({.cache = &some.cache(static_cast<std::int64_t>(s)),
                        .tokens = {&tokens[s], 1},
                        .logits_for = asked[s]});
    }
    some.transformer().run(slices, {});
    const auto expected = all.step({0, 1, 2, 3}, tokens);
    std::span<const float> logits = some.transformer().logits();
    std::span<const std::int32_t> likeliest = some.transformer().chosen_tokens();
    for (std::size_t s = 0; s < 4; ++s) {
      if (asked[s] == LogitsFor::token) {
        ASSERT_FALSE(likeliest.empty());
        EXPECT_EQ(likeliest.front(), greedy(expected[s])) << "stream " << s;
        likeliest = likeliest.subspan(1);
      } else if (asked[s] == LogitsFor::last) {
        ASSERT_GE(logits.size(), vocab);
        EXPECT_EQ(std::vector<float>(logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(vocab)),
                  expected[s]);
        logits = logits.subspan(vocab);
      }
    }
    EXPECT_TRUE(logits.empty() && likeliest.empty());
  }
}

TEST(Steps, AFailedLaunchIsReportedAndTheNextStepRuns) {
  Streams streams(device_model(kCase), 1, kWindow, 1);
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  for (const std::int32_t token : tokens) {  // its window is full: all steps are alike
    streams.step({0}, {token});
  }
  emulation::fail_call("cudaGraphLaunch", cudaErrorLaunchFailure);
  try {
    streams.step({0}, {2});
    FAIL() << "nothing was thrown";
  } catch (const kernels::cuda::DeviceError& error) {
    EXPECT_TRUE(streams.transformer().caches_intact());  // nothing of it was done
    EXPECT_EQ(error.call(), "cudaGraphLaunch");
    EXPECT_NE(std::string(error.what()).find("unspecified launch failure"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(streams.cache(0).position(), std::ssize(tokens));
  std::vector<std::int32_t> all = tokens;
  all.push_back(2);
  EXPECT_LE(largest_error(streams.step({0}, {2}).front(), alone(all).back()), 1e-4);
}

TEST(Steps, OneThatBrokeOffIsWaitedForAndEndsTheBackend) {
  Streams streams(device_model(kCase), 1, kWindow, 1);
  const long before = emulation::counts().synchronisations;
  emulation::fail_call("cudaLaunchKernelEx", cudaErrorLaunchFailure, /*n_before=*/5);
  EXPECT_THROW(streams.step({0}, {1}), kernels::DeviceError);  // its first: command by command
  EXPECT_FALSE(streams.transformer().caches_intact());
  EXPECT_GT(emulation::counts().synchronisations, before);
  EXPECT_EQ(streams.cache(0).position(), 0);
  try {
    streams.step({0}, {1});
    FAIL() << "nothing was thrown";
  } catch (const kernels::DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("make the backend anew"), std::string::npos) << error.what();
  }
}

TEST(Steps, OneWithoutRoomLeavesStreamsAsTheyAreAndTheNextRuns) {
  for (int n_before = 0; n_before < 4; ++n_before) {  // parameters, parts of attention, caches
    SCOPED_TRACE(n_before);
    Streams streams(device_model(kCase), 1, kWindow, 1);
    emulation::fail_call("cudaMalloc", cudaErrorMemoryAllocation, n_before);
    EXPECT_THROW(streams.step({0}, {1}), std::bad_alloc);
    EXPECT_TRUE(streams.transformer().caches_intact());
    EXPECT_LE(largest_error(streams.step({0}, {1}).front(), alone({1}).back()), 1e-4);
  }
  emulation::fail_call("cudaMallocHost", cudaErrorMemoryAllocation);
  EXPECT_THROW(emulation::make_emulated_backend(), std::bad_alloc);
}

TEST(Steps, OneThatCannotEvenBeginToEndIsForgotten) {
  kernels::cuda::DeviceQueue queue(0, nullptr);
  queue.begin_step(1);
  emulation::fail_call("cudaSetDevice", cudaErrorLaunchFailure);
  EXPECT_THROW(queue.end_step(), kernels::DeviceError);
  EXPECT_FALSE(queue.in_step());
  queue.begin_step(1);
  queue.end_step();
}

TEST(Steps, WhatCannotBeCapturedRunsCommandByCommand) {
  for (const char* call :
       {"cudaLaunchKernelEx", "cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"}) {
    SCOPED_TRACE(call);
    Streams streams(device_model(kCase), 1, kWindow, 3);
    streams.step({0}, {1});
    emulation::fail_call(call, cudaErrorInvalidValue,
                         /*n_before=*/std::string_view(call) == "cudaLaunchKernelEx" ? 5 : 0);
    const emulation::Counts before = emulation::counts();
    for (const std::int64_t s : {1, 2}) {  // laid out alike: the first of them is to be captured
      EXPECT_LE(largest_error(streams.step({s}, {1}).front(), alone({1}).back()), 1e-4);
    }
    EXPECT_EQ(emulation::counts().graph_launches, before.graph_launches);
    EXPECT_LE(emulation::counts().captures, before.captures + 1);  // it is not tried again
  }
}

TEST(Sessions, MoveFromTheCpuToTheDeviceAndBack) {
  std::mt19937 random(3);
  Streams host(load_model(folder_of(kCase), kernels::make_backend("reference", 1)), 1, kWindow, 2);
  Streams device(device_model(kCase), 1, kWindow, 2);
  const auto prompt = random_tokens(random, 15, host.model().config.vocab_size);
  std::int32_t on_host = 0;
  for (const std::int32_t token : prompt) {
    on_host = greedy(host.step({0}, {token}).front());
  }
  const auto move = [](Streams& from, std::int64_t s, Streams& to, std::int64_t t) {
    const cache::CondensedCache& cache = from.cache(s);
    std::vector<std::byte> saved(
        cache::CondensedCache::saved_bytes(cache.shape(), cache.window(), cache.place()));
    cache.save(saved);
    to.cache(t).restore(cache.place(), saved);
  };
  move(host, 0, device, 0);
  std::int32_t on_device = on_host;
  for (int i = 0; i < 12; ++i) {  // the same greedy text
    on_host = greedy(host.step({0}, {on_host}).front());
    on_device = greedy(device.step({0}, {on_device}).front());
    ASSERT_EQ(on_device, on_host) << "token " << i;
  }
  move(device, 0, host, 1);
  EXPECT_LE(largest_error(host.step({1}, {on_device}).front(), host.step({0}, {on_host}).front()), 1e-4);
}

}  // namespace
}  // namespace condensed::engine::test
