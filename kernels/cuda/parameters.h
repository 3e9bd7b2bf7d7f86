#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cuda_runtime.h>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/cuda/device_memory.h"

namespace condensed::kernels::cuda {

/// What kernels are told that changes from step to step: written to pinned memory here, copied to a place of
/// the device's memory that does not change. In a step everything is copied at once, by copies() at its
/// beginning, and the same sequence of place() with the same capacities gives the same addresses.
class Parameters {
 public:
  static constexpr std::size_t kAlignment = 16;
  /// A second piece is begun where one is full; what is larger than that has a piece to itself.
  static constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

  /// What something of that many bytes takes of a piece.
  static constexpr std::size_t rounded(std::size_t bytes) {
    return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  }

  explicit Parameters(cudaStream_t stream) : stream_(stream) {}

  /// Where these will be on the device, with room for `capacity` of them. Outside a step they are valid for
  /// kernels that are launched before generation() changes. Throws NoRoomError and DeviceError.
  template <typename T>
  const T* place(std::span<const T> values, std::size_t capacity) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    return reinterpret_cast<const T*>(place_bytes(std::as_bytes(values), capacity * sizeof(T)));
  }

  /// The next places, of that many bytes in all, each rounded up to kAlignment, do not change generation().
  void make_room(std::size_t bytes) { piece_with(bytes); }

  /// Until the next begin or end, what is placed is copied by copies() only.
  void begin_step();
  /// The step's kernels have run.
  void end_step();

  struct Copy {
    const std::byte* from = nullptr;
    std::byte* to = nullptr;
    std::size_t bytes = 0;
  };
  /// What a step's kernels need to be copied before they run.
  std::vector<Copy> copies() const;

  /// Changes when places are used anew.
  std::int64_t generation() const { return generation_; }

 private:
  struct Piece {
    PinnedMemory host;
    DeviceMemory device;
    std::size_t bytes = 0;
    std::size_t used = 0;
  };

  const std::byte* place_bytes(std::span<const std::byte> values, std::size_t capacity);
  Piece& piece_with(std::size_t bytes);
  void start_anew();

  cudaStream_t stream_;
  std::vector<Piece> pieces_;
  std::size_t current_ = 0;
  bool in_step_ = false;
  bool dirty_ = false;  // the device may not have copied everything yet
  std::int64_t generation_ = 0;
};

}  // namespace condensed::kernels::cuda
