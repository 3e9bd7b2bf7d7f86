#pragma once

#include <cstddef>
#include <cuda_runtime.h>
#include <memory>

namespace condensed::kernels::cuda {

struct DeviceFree {
  void operator()(std::byte* data) const noexcept;
};
/// Memory of the current device.
using DeviceMemory = std::unique_ptr<std::byte[], DeviceFree>;
/// Null: there is no room. Throws DeviceError for any other failure.
DeviceMemory allocate_device(std::size_t bytes);

struct PinnedFree {
  void operator()(std::byte* data) const noexcept;
};
/// Memory of the host that the device copies from and to by itself.
using PinnedMemory = std::unique_ptr<std::byte[], PinnedFree>;
/// Throws NoRoomError and DeviceError.
PinnedMemory allocate_pinned(std::size_t bytes);

struct StreamDestroy {
  void operator()(cudaStream_t stream) const noexcept;
};
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, StreamDestroy>;
/// Throws DeviceError.
Stream make_stream();

}  // namespace condensed::kernels::cuda
