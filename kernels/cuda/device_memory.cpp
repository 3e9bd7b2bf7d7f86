#include "kernels/cuda/device_memory.h"

#include "kernels/cuda/checked.h"
#include "kernels/cuda/device_error.h"

namespace condensed::kernels::cuda {

// What is given back while the process ends may fail: the device has forgotten it already.
void DeviceFree::operator()(std::byte* data) const noexcept {
  static_cast<void>(cudaFree(data));
}
void PinnedFree::operator()(std::byte* data) const noexcept {
  static_cast<void>(cudaFreeHost(data));
}
void StreamDestroy::operator()(cudaStream_t stream) const noexcept {
  static_cast<void>(cudaStreamDestroy(stream));
}

DeviceMemory allocate_device(std::size_t bytes) {
  void* data = nullptr;
  const cudaError_t result = cudaMalloc(&data, bytes);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(result, "cudaMalloc");
  return DeviceMemory(static_cast<std::byte*>(data));
}

PinnedMemory allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  const cudaError_t result = cudaMallocHost(&data, bytes);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw NoRoomError("the host has no room for " + bytes_in_words(bytes) +
                      " of pinned memory; end what else uses its memory");
  }
  check(result, "cudaMallocHost");
  return PinnedMemory(static_cast<std::byte*>(data));
}

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

}  // namespace condensed::kernels::cuda
