#include "kernels/cpu/thread_team.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <latch>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace condensed::kernels {

TEST(ThreadTeam, CoversEveryIndexOnce) {
  for (const int size : {1, 2, 3, 7}) {
    ThreadTeam team(size);
    EXPECT_EQ(team.size(), size);
    for (const std::int64_t n : {0, 1, 2, 5, 64, 1001}) {
      for (const std::int64_t grain : {1, 2, 7, 64, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
        team.run(n, grain, [&](int, std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            visits[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
          }
        });
        for (const auto& count : visits) {
          ASSERT_EQ(count.load(), 1);
        }
      }
    }
  }
}

TEST(ThreadTeam, RangesAreNoLongerThanTheGrain) {
  ThreadTeam team(3);
  std::atomic<bool> too_long = false;
  team.run(1000, 7, [&](int, std::int64_t begin, std::int64_t end) {
    if (begin >= end || end - begin > 7) {
      too_long = true;
    }
  });
  EXPECT_FALSE(too_long);
}

TEST(ThreadTeam, OneRangeRunsOnTheCaller) {
  ThreadTeam team(3);
  std::vector<std::thread::id> threads;
  team.run(10, 10, [&](int thread, std::int64_t, std::int64_t) {
    EXPECT_EQ(thread, 0);
    threads.push_back(std::this_thread::get_id());
  });
  EXPECT_EQ(threads, std::vector<std::thread::id>{std::this_thread::get_id()});
}

TEST(ThreadTeam, WholeTeamWorksAtOnce) {
  constexpr int kThreads = 4;
  ThreadTeam team(kThreads);
  for (int i = 0; i < 20; ++i) {
    // Each range waits for the others: with fewer threads than ranges this would never return.
    std::latch everybody(kThreads);
    std::vector<std::atomic<int>> ranges_of(kThreads);
    team.run(kThreads, 1, [&](int thread, std::int64_t, std::int64_t) {
      ranges_of[static_cast<std::size_t>(thread)].fetch_add(1);
      everybody.arrive_and_wait();
    });
    for (const auto& ranges : ranges_of) {
      ASSERT_EQ(ranges.load(), 1);
    }
  }
}

TEST(ThreadTeam, ManyShortLoops) {
  // What a loop wrote without atomics must be visible to the next, whoever ran it.
  ThreadTeam team(3);
  std::vector<std::int64_t> counts(64);
  constexpr int kLoops = 20000;
  for (int i = 0; i < kLoops; ++i) {
    team.run(64, 16, [&](int, std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = begin; j < end; ++j) {
        counts[static_cast<std::size_t>((j + i) % 64)] += 1;
      }
    });
  }
  EXPECT_EQ(counts, std::vector<std::int64_t>(64, kLoops));
}

TEST(ThreadTeam, SleepersWakeForTheNextLoop) {
  ThreadTeam team(3);
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far past the spin
    std::latch everybody(3);
    team.run(3, 1, [&](int, std::int64_t, std::int64_t) { everybody.arrive_and_wait(); });
  }
}

TEST(ThreadTeam, ComesAndGoesWithoutWork) {
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(ThreadTeam(4).size(), 4);
  }
}

TEST(ThreadTeam, IdleTeamUsesNoProcessor) {
  ThreadTeam team(4);
  team.run(100, 1, [](int, std::int64_t, std::int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();  // processor time of all threads, not the time of day
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double used_s = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(used_s, 0.02);
}

TEST(ThreadTeam, ZeroMeansEveryAvailableProcessor) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_EQ(ThreadTeam(0).size(), available_processors());
}

}  // namespace condensed::kernels
