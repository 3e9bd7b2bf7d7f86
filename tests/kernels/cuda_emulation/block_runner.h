#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

/// Runs the threads of one block of a kernel as fibers of this thread, each until it meets a barrier.
/// What a device would not do is reported on stderr and ends the process: threads that leave while others
/// wait at a barrier, threads that meet at different barriers, shared memory written past what was asked for.
namespace condensed::emulation {

constexpr unsigned kWarpSize = 32;
constexpr std::size_t kMaxSharedBytes = 99 * 1024;  // what a block may ask for on every device we compile for

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

/// All threads of the block meet; `line` tells barriers apart.
void block_barrier(std::uint32_t line);

/// All lanes of the warp meet, each bringing a value of at most 8 bytes; every lane gets that of lane `from`.
std::uint64_t exchange(std::uint64_t value, unsigned from, std::uint32_t line);

}  // namespace condensed::emulation
