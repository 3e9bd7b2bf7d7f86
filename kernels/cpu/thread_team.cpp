#include "kernels/cpu/thread_team.h"

#include <algorithm>
#include <sched.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace condensed::kernels {

namespace {

// About 20 µs: longer than the serial stretches of a step, shorter than anybody notices.
constexpr int kSpins = 1000;

void pause_processor() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");  // waits about as long; "yield" does nothing on most processors
#endif
}

// Returns when `watched` may differ from `old`: at once if it does, else after a spin and a sleep.
void wait_for_change(const std::atomic<int>& watched, int old) {
  for (int i = 0; i < kSpins; ++i) {
    if (watched.load(std::memory_order_relaxed) != old) {
      return;
    }
    pause_processor();
  }
  watched.wait(old, std::memory_order_relaxed);
}

}  // namespace

int available_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    return std::max(1, CPU_COUNT(&allowed));
  }
  // More processors than a cpu_set_t can hold.
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Delegates so that the destructor runs, and ends the threads started so far, when one cannot be started.
ThreadTeam::ThreadTeam(int n_threads) : ThreadTeam() {
  const int size = n_threads > 0 ? n_threads : available_processors();
  workers_.reserve(static_cast<std::size_t>(size) - 1);
  for (int thread = 1; thread < size; ++thread) {
    workers_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadTeam::~ThreadTeam() {
  stopping_.store(true, std::memory_order_relaxed);
  announced_.fetch_add(1, std::memory_order_release);
  announced_.notify_all();
}

void ThreadTeam::share(const Loop& loop) {
  loop_ = loop;
  next_.store(0, std::memory_order_relaxed);
  joined_.store(0, std::memory_order_release);
  announced_.fetch_add(1, std::memory_order_release);
  announced_.notify_all();

  take_ranges(0);

  // All ranges are taken. Wait for the workers that have some, not for those that never woke up.
  int inside = 0;
  while (!joined_.compare_exchange_weak(inside, kClosed, std::memory_order_acq_rel)) {
    if (inside != 0) {
      wait_for_change(joined_, inside);
    }
    inside = 0;
  }
}

void ThreadTeam::work(int thread) {
  int seen = 0;
  while (true) {
    wait_for_change(announced_, seen);
    seen = announced_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) {
      return;
    }
    if (join_loop()) {
      take_ranges(thread);
      leave_loop();
    }
  }
}

bool ThreadTeam::join_loop() {
  int inside = joined_.load(std::memory_order_relaxed);
  while (inside != kClosed) {
    if (joined_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

void ThreadTeam::leave_loop() {
  joined_.fetch_sub(1, std::memory_order_release);
  joined_.notify_one();
}

void ThreadTeam::take_ranges(int thread) {
  while (true) {
    const std::int64_t begin = next_.fetch_add(loop_.grain, std::memory_order_relaxed);
    if (begin >= loop_.n) {
      return;
    }
    loop_.call(loop_.body, thread, begin, std::min(begin + loop_.grain, loop_.n));
  }
}

}  // namespace condensed::kernels
