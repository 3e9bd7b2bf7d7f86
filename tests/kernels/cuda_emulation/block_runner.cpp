#include "tests/kernels/cuda_emulation/block_runner.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "tests/kernels/cuda_emulation/fiber.h"

namespace condensed::kernels::cuda {
/// What kernels declare as `extern __shared__`.
alignas(16) unsigned char dynamic_shared_bytes[emulation::kMaxSharedBytes + emulation::kSharedGuardBytes];
}  // namespace condensed::kernels::cuda

namespace condensed::emulation {

using kernels::cuda::dynamic_shared_bytes;

ThreadPlace place;

namespace {

constexpr unsigned char kGarbage = 0xff;  // NaN in every floating format

[[noreturn]] void fail(const char* what, std::uint32_t line, std::uint32_t other) {
  std::fprintf(stderr, "CUDA emulation: block (%u, %u, %u): %s (lines %u and %u)\n", place.block.x,
               place.block.y, place.block.z, what, line, other);
  std::abort();
}

enum class Wait : std::uint8_t { nothing, warp, block, previous, ended };

struct Lane {
  Fiber* fiber = nullptr;  // while it waits
  Dim3 thread;
  Wait wait = Wait::nothing;
  bool awaited_previous = false;
  std::uint32_t line = 0;
  std::array<std::uint64_t, 2> values{};  // of two exchanges in turn: nobody is further ahead of another
  unsigned n_exchanges = 0;
};

std::mt19937& random_numbers() {
  static std::mt19937 random(1);
  return random;
}

BlockRunner* running = nullptr;

}  // namespace

class BlockRunner {
 public:
  /// Runs the block, which is at `place`: to its end, or, early, to where all that is left waits for the
  /// kernels before. must_await: all threads have to.
  void run(const std::function<void()>& kernel, bool must_await, bool early) {
    running = this;
    kernel_ = &kernel;
    must_await_ = must_await;
    early_ = early;
    const Dim3 block_dim = place.block_dim;
    n_ = block_dim.x * block_dim.y * block_dim.z;
    lanes_.assign(n_, {});
    for (unsigned t = 0; t < n_; ++t) {
      lanes_[t].thread = {t % block_dim.x, t / block_dim.x % block_dim.y, t / block_dim.x / block_dim.y};
    }
    choose_order(random_numbers());
    n_started_ = 0;
    n_fibers_ = 0;
    while (n_started_ < n_) {
      start_fiber();
    }
    run_on();
  }

  /// The kernels before have ended.
  void go_on() {
    running = this;
    early_ = false;
    for (Lane& lane : lanes_) {
      lane.wait = lane.wait == Wait::previous ? Wait::nothing : lane.wait;
    }
    resume_all();
    run_on();
  }

  void await_previous(std::uint32_t line) {
    lanes_[current_].awaited_previous = true;
    if (early_) {
      wait_here(Wait::previous, line);
    }
  }

  void wait_here(Wait wait, std::uint32_t line) {
    Lane& lane = lanes_[current_];
    lane.wait = wait;
    lane.line = line;
    lane.fiber->pause();
  }

  std::uint64_t exchange(std::uint64_t value, unsigned from, std::uint32_t line) {
    const unsigned self = current_;
    const unsigned turn = lanes_[self].n_exchanges++ % 2;
    lanes_[self].values[turn] = value;
    wait_here(Wait::warp, line);
    return lanes_[self / kWarpSize * kWarpSize + from % kWarpSize].values[turn];
  }

 private:
  void run_on() {
    while (release_who_may_go()) {
      resume_all();
    }
  }

  void resume_all() {
    for (const unsigned t : order_) {
      if (lanes_[t].wait == Wait::nothing) {
        resume(t);
      }
    }
  }

  /// Forwards, backwards, or in any order: a result must not hang on it.
  void choose_order(std::mt19937& random) {
    order_.resize(n_);
    std::iota(order_.begin(), order_.end(), 0U);
    const auto choice = random() % 4;
    if (choice == 0) {
      std::shuffle(order_.begin(), order_.end(), random);
    } else if (choice < 3) {
      std::reverse(order_.begin(), order_.end());
    }
  }

  /// One fiber runs thread after thread until one of them waits.
  void start_fiber() {
    if (n_fibers_ == fibers_.size()) {
      fibers_.push_back(std::make_unique<Fiber>(n_fibers_));
    }
    Fiber& fiber = *fibers_[n_fibers_++];
    fiber.start([this, &fiber] {
      while (n_started_ < n_) {
        const unsigned t = order_[n_started_++];
        Lane& lane = lanes_[t];
        lane.fiber = &fiber;
        enter(t);
        (*kernel_)();
        if (must_await_ && !lanes_[current_].awaited_previous) {
          fail("a thread ended and had not waited for the kernels before", 0, 0);
        }
        lanes_[current_].wait = Wait::ended;
      }
    });
    fiber.resume();
  }

  void resume(unsigned t) {
    enter(t);
    lanes_[t].fiber->resume();
  }

  void enter(unsigned t) {
    current_ = t;
    place.thread = lanes_[t].thread;
  }

  /// False: all have ended, or the kernels before have to.
  bool release_who_may_go() {
    bool progress = false;
    for (unsigned first = 0; first < n_; first += kWarpSize) {
      progress |= release(first, std::min(first + kWarpSize, n_), Wait::warp);
    }
    progress |= release(0, n_, Wait::block);
    const auto ended = [](const Lane& lane) { return lane.wait == Wait::ended; };
    const auto waits = [](const Lane& lane) { return lane.wait == Wait::previous; };
    if (!progress && !std::ranges::all_of(lanes_, ended) && std::ranges::none_of(lanes_, waits)) {
      fail("threads ended, or wait elsewhere, while others wait at a barrier", stuck_line(), stuck_line());
    }
    return progress;
  }

  std::uint32_t stuck_line() const {
    for (const unsigned t : order_) {
      if (lanes_[t].wait != Wait::ended) {
        return lanes_[t].line;
      }
    }
    return 0;
  }

  /// If all of these wait at a barrier of that kind, they may go on.
  bool release(unsigned first, unsigned end, Wait wait) {
    for (unsigned t = first; t < end; ++t) {
      if (lanes_[t].wait != wait) {
        return false;
      }
    }
    for (unsigned t = first; t < end; ++t) {
      if (lanes_[t].line != lanes_[first].line) {
        fail("threads meet at different barriers", lanes_[first].line, lanes_[t].line);
      }
      lanes_[t].wait = Wait::nothing;
    }
    return true;
  }

  const std::function<void()>* kernel_ = nullptr;
  bool must_await_ = false;
  bool early_ = false;
  std::vector<Lane> lanes_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<unsigned> order_;
  unsigned n_ = 0;
  unsigned n_started_ = 0;
  std::size_t n_fibers_ = 0;
  unsigned current_ = 0;
};

namespace {

/// Runners whose fibers are not in use.
std::vector<std::unique_ptr<BlockRunner>>& idle_runners() {
  static std::vector<std::unique_ptr<BlockRunner>> idle;
  return idle;
}

std::unique_ptr<BlockRunner> take_runner() {
  auto& idle = idle_runners();
  if (idle.empty()) {
    return std::make_unique<BlockRunner>();
  }
  std::unique_ptr<BlockRunner> runner = std::move(idle.back());
  idle.pop_back();
  return runner;
}

void enter_block(Dim3 grid, Dim3 block, unsigned number) {
  place.grid_dim = grid;
  place.block_dim = block;
  place.block = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
}

void check_shared_end(std::size_t shared_bytes) {
  for (std::size_t at = shared_bytes; at < shared_bytes + kSharedGuardBytes; ++at) {
    if (dynamic_shared_bytes[at] != kGarbage) {
      fail("shared memory was written past its end", 0, 0);
    }
  }
}

void run_block(const Launch& launch, unsigned number, bool must_await, bool early, BlockRunner& runner) {
  enter_block(launch.grid, launch.block, number);
  std::memset(dynamic_shared_bytes, kGarbage, launch.shared_bytes + kSharedGuardBytes);
  runner.run(launch.kernel, must_await, early);
  check_shared_end(launch.shared_bytes);
}

unsigned n_blocks(const Launch& launch) {
  return launch.grid.x * launch.grid.y * launch.grid.z;
}

/// But for block `except`.
void run_blocks(const Launch& launch, bool must_await, unsigned except) {
  std::unique_ptr<BlockRunner> runner = take_runner();
  const unsigned n = n_blocks(launch);
  const unsigned first = n == 0 ? 0 : static_cast<unsigned>(random_numbers()() % n);
  for (unsigned i = 0; i < n; ++i) {
    if (const unsigned b = (first + i) % n; b != except) {
      run_block(launch, b, must_await, /*early=*/false, *runner);
    }
  }
  idle_runners().push_back(std::move(runner));
}

}  // namespace

void run_grid(Dim3 grid, Dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  const Launch launch{.grid = grid, .block = block, .shared_bytes = shared_bytes, .kernel = kernel};
  run_blocks(launch, /*must_await=*/false, n_blocks(launch));
}

LaunchRun::LaunchRun(const Launch& launch) : launch_(launch) {}
LaunchRun::~LaunchRun() = default;

void LaunchRun::begin() {
  begun_block_ = static_cast<unsigned>(random_numbers()() % n_blocks(launch_));
  runner_ = take_runner();
  run_block(launch_, begun_block_, /*must_await=*/true, /*early=*/true, *runner_);
  shared_.assign(dynamic_shared_bytes, dynamic_shared_bytes + launch_.shared_bytes + kSharedGuardBytes);
}

void LaunchRun::end() {
  if (!begun()) {
    run_blocks(launch_, /*must_await=*/true, n_blocks(launch_));
    return;
  }
  enter_block(launch_.grid, launch_.block, begun_block_);
  std::ranges::copy(shared_, dynamic_shared_bytes);
  runner_->go_on();
  check_shared_end(launch_.shared_bytes);
  idle_runners().push_back(std::move(runner_));
  run_blocks(launch_, /*must_await=*/true, begun_block_);
}

void await_previous(std::uint32_t line) {
  running->await_previous(line);
}

void block_barrier(std::uint32_t line) {
  running->wait_here(Wait::block, line);
}

std::uint64_t exchange(std::uint64_t value, unsigned from, std::uint32_t line) {
  return running->exchange(value, from, line);
}

}  // namespace condensed::emulation
