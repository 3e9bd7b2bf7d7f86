#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <cuda_runtime.h>
#include <type_traits>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/checked.h"

namespace condensed::kernels::cuda {

/// Where commands go.
struct Target {
  cudaStream_t stream = nullptr;
  Blas* blas = nullptr;
};

/// One thing that the device is to do, with every value it does it with. A step is a list of these: equal
/// lists are the same work, whatever is in the memory they point to.
struct Command {
  using Issue = void (*)(const Command& command, const Target& target);

  Issue issue = nullptr;
  std::uintptr_t kernel = 0;
  std::array<std::uint32_t, 3> grid = {1, 1, 1};
  std::uint32_t block = 1;
  std::uint32_t shared_bytes = 0;
  /// It may begin before the command before it has ended, which must be a kernel, too; where the device can.
  std::uint32_t overlaps = 0;
  alignas(16) std::array<std::byte, 272> arguments{};

  bool operator==(const Command&) const = default;
  bool is_kernel() const { return kernel != 0; }

  template <typename Arguments>
  void set(const Arguments& from) {
    static_assert(std::is_trivially_copyable_v<Arguments> && sizeof(Arguments) <= sizeof(arguments));
    std::memcpy(arguments.data(), &from, sizeof(from));
  }
  template <typename Arguments>
  Arguments get() const {
    Arguments out;
    std::memcpy(&out, arguments.data(), sizeof(out));
    return out;
  }
};

/// How a kernel is laid out over blocks and threads.
struct Layout {
  std::array<std::uint32_t, 3> grid = {1, 1, 1};
  std::uint32_t block = 1;
  std::size_t shared_bytes = 0;
};

template <typename Arguments>
void issue_kernel(const Command& command, const Target& target) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3{command.grid[0], command.grid[1], command.grid[2]};
  config.blockDim = dim3{command.block, 1, 1};
  config.dynamicSmemBytes = command.shared_bytes;
  config.stream = target.stream;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  if (command.overlaps != 0) {
    config.attrs = &early;
    config.numAttrs = 1;
  }
  const auto kernel = reinterpret_cast<void (*)(Arguments)>(command.kernel);
  check(cudaLaunchKernelEx(&config, kernel, command.get<Arguments>()), "cudaLaunchKernelEx");
}

template <typename Arguments>
Command kernel_command(void (*kernel)(Arguments), const Layout& layout, const Arguments& arguments) {
  Command command;
  command.issue = &issue_kernel<Arguments>;
  command.kernel = reinterpret_cast<std::uintptr_t>(kernel);
  command.grid = layout.grid;
  command.block = layout.block;
  command.shared_bytes = static_cast<std::uint32_t>(layout.shared_bytes);
  command.set(arguments);
  return command;
}

}  // namespace condensed::kernels::cuda
