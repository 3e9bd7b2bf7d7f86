#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

/// Runs the threads of one block of a kernel as fibers of this thread, each until it meets a barrier.
/// What a device would not do is reported on stderr and ends the process: threads that leave while others
/// wait at a barrier, threads that meet at different barriers, shared memory written past what was asked for;
/// and what our own rule forbids: threads of a launched kernel that do not wait for the kernels before.
namespace condensed::emulation {

constexpr unsigned kWarpSize = 32;
constexpr std::size_t kMaxSharedBytes = 99 * 1024;  // what a block may ask for on every device we compile for

constexpr std::size_t kSharedGuardBytes = 64;

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

/// Of the thread that runs now.
struct ThreadPlace {
  Dim3 thread;
  Dim3 block;
  Dim3 block_dim;
  Dim3 grid_dim;
};
extern ThreadPlace place;

/// Runs `kernel` for every block and thread; shared memory begins as garbage. Blocks and threads run in an
/// order that changes from launch to launch, so that a result that depends on it does not stay hidden.
void run_grid(Dim3 grid, Dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);

/// A kernel with its arguments.
struct Launch {
  Dim3 grid;
  Dim3 block;
  std::size_t shared_bytes = 0;
  std::function<void()> kernel;
  bool overlaps = false;  // it may begin before what was launched before it has ended
};

class BlockRunner;

/// A launch that runs in one or two parts. Every thread must wait for the kernels before.
class LaunchRun {
 public:
  /// The launch must outlive it.
  explicit LaunchRun(const Launch& launch);
  ~LaunchRun();
  LaunchRun(const LaunchRun&) = delete;
  LaunchRun& operator=(const LaunchRun&) = delete;

  /// Runs some block up to where its threads wait for the kernels before: what it has read by then is what
  /// these have not yet written.
  void begin();
  /// The rest: all of it, or what begin() has left.
  void end();
  bool begun() const { return runner_ != nullptr; }

 private:
  const Launch& launch_;
  std::unique_ptr<BlockRunner> runner_;  // of the block that has begun
  unsigned begun_block_ = 0;
  std::vector<unsigned char> shared_;  // its memory
};

/// Where a thread waits for the kernels before its own.
void await_previous(std::uint32_t line);

/// All threads of the block meet; `line` tells barriers apart.
void block_barrier(std::uint32_t line);

/// All lanes of the warp meet, each bringing a value of at most 8 bytes; every lane gets that of lane `from`.
std::uint64_t exchange(std::uint64_t value, unsigned from, std::uint32_t line);

}  // namespace condensed::emulation
