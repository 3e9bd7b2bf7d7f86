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
alignas(16) unsigned char dynamic_shared_bytes[emulation::kMaxSharedBytes + 64];
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

enum class Wait : std::uint8_t { nothing, warp, block, ended };

struct Lane {
  Fiber* fiber = nullptr;  // while it waits
  Dim3 thread;
  Wait wait = Wait::nothing;
  std::uint32_t line = 0;
  std::array<std::uint64_t, 2> values{};  // of two exchanges in turn: nobody is further ahead of another
  unsigned n_exchanges = 0;
};

class BlockRunner {
 public:
  void run(const std::function<void()>& kernel, Dim3 block_dim, std::mt19937& random) {
    kernel_ = &kernel;
    n_ = block_dim.x * block_dim.y * block_dim.z;
    lanes_.assign(n_, {});
    for (unsigned t = 0; t < n_; ++t) {
      lanes_[t].thread = {t % block_dim.x, t / block_dim.x % block_dim.y, t / block_dim.x / block_dim.y};
    }
    choose_order(random);
    n_started_ = 0;
    n_fibers_ = 0;
    while (n_started_ < n_) {
      start_fiber();
    }
    while (release_who_may_go()) {
      for (const unsigned t : order_) {
        if (lanes_[t].wait == Wait::nothing) {
          resume(t);
        }
      }
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

  /// False: all have ended.
  bool release_who_may_go() {
    bool progress = false;
    for (unsigned first = 0; first < n_; first += kWarpSize) {
      progress |= release(first, std::min(first + kWarpSize, n_), Wait::warp);
    }
    progress |= release(0, n_, Wait::block);
    const auto ended = [](const Lane& lane) { return lane.wait == Wait::ended; };
    if (!progress && !std::ranges::all_of(lanes_, ended)) {
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
  std::vector<Lane> lanes_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<unsigned> order_;
  unsigned n_ = 0;
  unsigned n_started_ = 0;
  std::size_t n_fibers_ = 0;
  unsigned current_ = 0;
};

BlockRunner& runner() {
  static BlockRunner runner;
  return runner;
}

}  // namespace

void run_grid(Dim3 grid, Dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mt19937 random(1);
  place.grid_dim = grid;
  place.block_dim = block;
  const unsigned n_blocks = grid.x * grid.y * grid.z;
  const unsigned first = n_blocks == 0 ? 0 : static_cast<unsigned>(random() % n_blocks);
  for (unsigned i = 0; i < n_blocks; ++i) {
    const unsigned b = (first + i) % n_blocks;
    place.block = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    std::memset(dynamic_shared_bytes, kGarbage, shared_bytes + 64);
    runner().run(kernel, block, random);
    for (std::size_t at = shared_bytes; at < shared_bytes + 64; ++at) {
      if (dynamic_shared_bytes[at] != kGarbage) {
        fail("shared memory was written past its end", 0, 0);
      }
    }
  }
}

void block_barrier(std::uint32_t line) {
  runner().wait_here(Wait::block, line);
}

std::uint64_t exchange(std::uint64_t value, unsigned from, std::uint32_t line) {
  return runner().exchange(value, from, line);
}

}  // namespace condensed::emulation
