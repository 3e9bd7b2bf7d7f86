#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace condensed::kernels {

/// Processors this process may run on.
int available_processors();

/// A fixed set of threads that share out loops; the thread that calls run() is one of them. A thread without
/// work spins for some microseconds, in which the next loop of a busy step usually comes, then sleeps.
class ThreadTeam {
 public:
  /// n_threads: the caller included; 0: available_processors(). Throws std::system_error when the system
  /// gives no more threads.
  explicit ThreadTeam(int n_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(thread, begin, end) for ranges of at most `grain` that together cover [0, n) once, and
  /// returns when all are done. thread: in [0, size()), never used by two calls at a time. A loop of one
  /// range (n <= grain) runs on the caller and wakes nobody. `body` must not throw. One thread calls run() at
  /// a time.
  template <typename Body>
  void run(std::int64_t n, std::int64_t grain, const Body& body) {
    static_assert(std::is_invocable_v<const Body&, int, std::int64_t, std::int64_t>);
    if (n <= 0) {
      return;
    }
    if (n <= grain || workers_.empty()) {
      body(0, std::int64_t{0}, n);
      return;
    }
    share(Loop{n, grain, &body, [](const void* erased, int thread, std::int64_t begin, std::int64_t end) {
                 (*static_cast<const Body*>(erased))(thread, begin, end);
               }});
  }

 private:
  struct Loop {
    std::int64_t n = 0;
    std::int64_t grain = 1;
    const void* body = nullptr;
    void (*call)(const void* body, int thread, std::int64_t begin, std::int64_t end) = nullptr;
  };

  static constexpr int kClosed = -1;

  ThreadTeam() = default;
  void share(const Loop& loop);
  void work(int thread);
  bool join_loop();
  void leave_loop();
  void take_ranges(int thread);

  // Written by the caller only while joined_ is kClosed, read only by threads that have joined.
  Loop loop_;
  alignas(64) std::atomic<std::int64_t> next_{0};  // where the next range of loop_ begins
  alignas(64) std::atomic<int> joined_{kClosed};   // workers inside loop_; kClosed: none may enter
  alignas(64) std::atomic<int> announced_{0};      // changes with every loop: what idle workers watch
  std::atomic<bool> stopping_{false};
  std::vector<std::jthread> workers_;  // last: they use all of the above
};

}  // namespace condensed::kernels
