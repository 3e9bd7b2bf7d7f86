#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/command.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/kernel_arguments.h"
#include "kernels/cuda/parameters.h"
#include "kernels/cuda/step_graphs.h"

namespace condensed::kernels::cuda {

/// The device's one queue of work. Outside a step commands are issued at once. In a step they are written
/// down and run as one graph at its end; rows are then laid out for the step's bucket, and how many there are
/// is told to the device with the step's parameters. One thread at a time.
class DeviceQueue {
 public:
  /// blas: null if there is none; then nothing may ask for it. Throws DeviceError.
  DeviceQueue(int device, std::unique_ptr<Blas> blas);
  ~DeviceQueue();
  DeviceQueue(const DeviceQueue&) = delete;
  DeviceQueue& operator=(const DeviceQueue&) = delete;

  /// Makes the device that of the calling thread: CUDA keeps one for each.
  void bind() const;
  cudaStream_t stream() const { return stream_.get(); }

  void issue(const Command& command);

  /// For how many rows to lay a kernel out that has n: some of the step's, all, or a multiple.
  std::int64_t grid_rows(std::int64_t n) const;
  /// For how many elements: of rows, or of as many whatever the step.
  std::int64_t grid_elements(std::int64_t n) const;
  /// How many of them there are.
  Count count(std::int64_t n);
  /// These, on the device; as many of them as there are rows, or a multiple.
  template <typename T>
  const T* place_rows(std::span<const T> values) {
    const auto n = static_cast<std::int64_t>(values.size());
    return place(values, in_step() && n % step_rows_ == 0 ? n / step_rows_ * step_bucket_ : n);
  }
  /// These, with room for `capacity` of them.
  template <typename T>
  const T* place(std::span<const T> values, std::int64_t capacity) {
    bind();
    return parameters_.place(values, static_cast<std::size_t>(capacity));
  }
  /// The next places, of these sizes in bytes, will all be there together.
  void make_room(std::initializer_list<std::int64_t> sizes_bytes);
  /// Changes when what was placed is no longer there.
  std::int64_t generation() const { return parameters_.generation(); }

  /// Throws DeviceError after a step that broke off when the device had part of it: to do it again is safe
  /// only where nothing of it was done.
  void begin_step(std::int64_t rows);
  /// Returns when the device has done all of it. Throws DeviceError; the step is over in any case.
  void end_step();
  /// Waits for what the device has of it.
  void abandon_step();
  bool in_step() const { return step_bucket_ > 0; }
  /// The device has nothing of the step, or of the latest one.
  bool step_untouched() const { return !issued_; }
  /// Does now what the step has written down so far; it goes on.
  void flush();
  void synchronise();

  /// Memory that must stay until what has been issued is done.
  void retire(DeviceMemory memory) { retired_.push_back(std::move(memory)); }

 private:
  Target target() const { return {.stream = stream_.get(), .blas = blas_.get()}; }
  std::vector<Command> with_copies() const;

  int device_;
  bool kernels_overlap_;
  Stream stream_;
  std::unique_ptr<Blas> blas_;
  Parameters parameters_;
  StepGraphs graphs_;
  std::vector<Command> step_;
  std::int64_t step_rows_ = 0;
  std::int64_t step_bucket_ = 0;  // 0: no step
  bool issued_ = false;           // the device has some of the step
  bool broken_off_ = false;
  std::vector<DeviceMemory> retired_;
};

/// Memory for what one command leaves to the next; grows.
class Scratch {
 public:
  template <typename T>
  T* reserve(DeviceQueue& queue, std::int64_t n) {
    return reinterpret_cast<T*>(reserve_bytes(queue, static_cast<std::size_t>(n) * sizeof(T)));
  }
  /// Zeros at first; who uses them leaves zeros.
  template <typename T>
  T* reserve_zeros(DeviceQueue& queue, std::int64_t n) {
    T* data = reserve<T>(queue, n);
    if (zeroed_bytes_ != bytes_) {
      fill_zero(queue);
    }
    return data;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* reserve_bytes(DeviceQueue& queue, std::size_t bytes);
  void fill_zero(DeviceQueue& queue);

  DeviceMemory memory_;
  std::size_t bytes_ = 0;
  std::size_t zeroed_bytes_ = 0;
};

}  // namespace condensed::kernels::cuda
