#include "clients/bench/recorder.h"

#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

using namespace std::chrono_literals;

constexpr Clock::time_point kBegin{1000s};

std::int64_t count_of(const Recorder& recorder, Figure figure) {
  return recorder.figure(figure).histogram.count();
}

double ms_at(const Recorder& recorder, Figure figure, double q) {
  return static_cast<double>(recorder.figure(figure).histogram.value_at_quantile(q)) / 1e6;
}

TEST(Recorder, OneGenerationGivesEachFigureOnceAndItsGaps) {
  Recorder recorder(Slo("ttft=100ms,itl=20ms"), 15ms);
  recorder.begin(kBegin);
  GenerationTimer timer(recorder, "s", kBegin + 1s);
  timer.token(10, kBegin + 1s + 50ms, nullptr);
  timer.token(11, kBegin + 1s + 60ms, nullptr);
  timer.token(12, kBegin + 1s + 90ms, nullptr);
  timer.done(kBegin + 1s + 95ms, true);
  recorder.end(kBegin + 4s);

  EXPECT_EQ(count_of(recorder, Figure::ttft), 1);
  EXPECT_NEAR(ms_at(recorder, Figure::ttft, 1), 50, 0.05);
  EXPECT_EQ(count_of(recorder, Figure::itl), 2);
  EXPECT_NEAR(ms_at(recorder, Figure::itl, 0), 10, 0.01);
  EXPECT_NEAR(ms_at(recorder, Figure::itl, 1), 30, 0.03);
  EXPECT_NEAR(ms_at(recorder, Figure::tpot, 1), 20, 0.02);
  EXPECT_NEAR(ms_at(recorder, Figure::e2el, 1), 95, 0.1);
  EXPECT_EQ(recorder.counts().output_tokens, 3);
  EXPECT_EQ(recorder.counts().good_tokens, 2);  // all but the one after 30 ms
  EXPECT_EQ(recorder.counts().completed, 1);
  EXPECT_EQ(recorder.counts().good_requests, 0);
  EXPECT_EQ(recorder.duration(kBegin + 9s), 4s);
  EXPECT_EQ(recorder.by_position().bins().at(11).count(), 1);
  EXPECT_EQ(recorder.by_position().bins().at(12).count(), 1);
  EXPECT_FALSE(recorder.by_position().bins().contains(10));  // a first token has no gap
}

TEST(Recorder, WhatBeganBeforeOrEndedAfterTheMeasuredPartIsLeftOut) {
  Recorder recorder(Slo(), 15ms);
  GenerationTimer timer(recorder, "s", kBegin - 3s);
  timer.token(1, kBegin - 2s, nullptr);
  recorder.begin(kBegin);
  timer.token(2, kBegin + 1s, nullptr);  // its gap began before
  EXPECT_EQ(count_of(recorder, Figure::itl), 0);
  EXPECT_EQ(recorder.stalls().count(), 0);
  EXPECT_EQ(recorder.counts().output_tokens, 1);
  timer.token(3, kBegin + 2s, nullptr);
  EXPECT_EQ(count_of(recorder, Figure::itl), 1);
  recorder.end(kBegin + 3s);
  recorder.end(kBegin + 100s);
  timer.token(4, kBegin + 4s, nullptr);
  timer.done(kBegin + 4s, true);
  EXPECT_EQ(recorder.counts().output_tokens, 2);
  EXPECT_EQ(count_of(recorder, Figure::itl), 1);
  EXPECT_EQ(count_of(recorder, Figure::ttft), 0);
  EXPECT_EQ(count_of(recorder, Figure::e2el), 0);
  EXPECT_EQ(recorder.counts().completed, 0);
  EXPECT_EQ(recorder.duration(kBegin + 9s), 3s);
}

TEST(Recorder, AnOpenLoopCountsFromWhenTheRequestWasDue) {
  Recorder recorder(Slo("wait=200ms"), 15ms);
  recorder.begin(kBegin);
  GenerationTimer timer(recorder, "s", kBegin);  // due then
  timer.token(1, kBegin + 500ms, nullptr);
  timer.sent_late(kBegin + 400ms);
  timer.done(kBegin + 600ms, true);
  EXPECT_NEAR(ms_at(recorder, Figure::ttft, 1), 500, 0.5);
  EXPECT_NEAR(ms_at(recorder, Figure::e2el, 1), 600, 0.6);
  EXPECT_NEAR(ms_at(recorder, Figure::wait, 1), 400, 0.4);
  EXPECT_EQ(recorder.counts().completed, 1);
  EXPECT_EQ(recorder.counts().good_requests, 0);  // it waited too long
}

TEST(Recorder, StallsHaveTheirPlaceAndTheDaemonsAccount) {
  Recorder recorder(Slo(), 15ms);
  recorder.begin(kBegin);
  GenerationTimer timer(recorder, "slow", kBegin);
  timer.token(7, kBegin + 1ms, nullptr);
  timer.token(8, kBegin + 16ms, nullptr);  // not above the threshold
  const boost::json::value account{{"step_ms", 17}};
  timer.token(9, kBegin + 34ms, &account);
  ASSERT_EQ(recorder.stalls().count(), 1);
  const Stall stall = recorder.stalls().listed().front();
  EXPECT_EQ(stall.session, "slow");
  EXPECT_EQ(stall.position, 9);
  EXPECT_EQ(stall.latency, 18ms);
  EXPECT_EQ(stall.after_start, 34ms);
  EXPECT_EQ(stall.account, account);
}

TEST(Recorder, KeepsTheLongestStallsInTheOrderTheyCame) {
  Stalls stalls;
  const auto n = static_cast<std::int64_t>(Stalls::kMaxListed);
  for (std::int64_t i = 0; i < 2 * n; ++i) {
    stalls.add({.after_start = std::chrono::nanoseconds(i),
                .position = i,
                .latency = std::chrono::nanoseconds(i % 2 == 0 ? 1 : 1000 + i)});
  }
  EXPECT_EQ(stalls.count(), 2 * n);
  const std::vector<Stall> listed = stalls.listed();
  ASSERT_EQ(listed.size(), Stalls::kMaxListed);
  for (std::size_t i = 0; i < listed.size(); ++i) {
    EXPECT_EQ(listed[i].position, static_cast<std::int64_t>(2 * i + 1));
  }
}

TEST(Recorder, SlicesAndSegmentsOfALongRunStayFewAndComplete) {
  Recorder recorder(Slo(), 1h);
  recorder.begin(kBegin);
  GenerationTimer timer(recorder, "s", kBegin);
  constexpr std::int64_t kTokens = 7200;  // two hours, one a second
  for (std::int64_t i = 0; i < kTokens; ++i) {
    timer.token(i, kBegin + std::chrono::seconds(i), nullptr);
    recorder.record_sample({.evictions = i}, kBegin + std::chrono::seconds(i));
  }
  recorder.end(kBegin + std::chrono::seconds(kTokens));
  recorder.record_sample({.evictions = kTokens}, kBegin + 10000s);  // late: the last slice's
  std::int64_t in_slices = 0;
  for (const auto& [index, slice] : recorder.timeline().bins()) in_slices += slice.output_tokens;
  EXPECT_EQ(in_slices, kTokens);
  EXPECT_LE(recorder.timeline().bins().size(), 600U);
  EXPECT_EQ(recorder.timeline().bins().rbegin()->second.sample->evictions, kTokens);
  std::int64_t in_segments = 0;
  const auto& segments = recorder.figure(Figure::itl).segments.bins();
  for (const auto& [index, part] : segments) in_segments += part.count();
  EXPECT_EQ(in_segments, kTokens - 1);
  EXPECT_GE(segments.size(), 20U);
  EXPECT_LE(segments.size(), 40U);
}

TEST(Recorder, ScenariosHaveFiguresOfTheirOwn) {
  Recorder recorder(Slo(), 15ms);
  const Figure append = recorder.add_figure("append");
  recorder.begin(kBegin);
  recorder.record(append, kBegin, kBegin + 3ms);
  recorder.record_input(50, kBegin + 3ms);
  recorder.record_failed("memory_limit", kBegin + 4ms);
  EXPECT_EQ(recorder.figure(append).name, "append");
  EXPECT_EQ(count_of(recorder, append), 1);
  EXPECT_EQ(recorder.counts().input_tokens, 50);
  EXPECT_EQ(recorder.counts().errors.at("memory_limit"), 1);
}

}  // namespace
}  // namespace condensed::bench
