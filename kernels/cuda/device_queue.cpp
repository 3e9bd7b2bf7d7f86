#include "kernels/cuda/device_queue.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "kernels/cuda/capacities.h"
#include "kernels/cuda/checked.h"
#include "kernels/cuda/device_error.h"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

namespace {
Stream stream_of(int device) {
  check(cudaSetDevice(device), "cudaSetDevice");
  return make_stream();
}

/// Whether kernels can begin before their predecessors have ended, in graphs, too.
bool can_overlap(int device) {
  constexpr int kLeastDriver = 12030;
  int major = 0;
  int driver = 0;
  check(cudaSetDevice(device), "cudaSetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  return major >= 9 && driver >= kLeastDriver && kernels_await_previous();
}

}  // namespace

DeviceQueue::DeviceQueue(int device, std::unique_ptr<Blas> blas)
    : device_(device),
      kernels_overlap_(can_overlap(device)),
      stream_(stream_of(device)),
      blas_(std::move(blas)),
      parameters_(stream_.get()) {}

DeviceQueue::~DeviceQueue() {
  // What runs may use what is about to be given back; if it has failed, nothing runs.
  static_cast<void>(cudaStreamSynchronize(stream_.get()));
}

void DeviceQueue::bind() const {
  check(cudaSetDevice(device_), "cudaSetDevice");
}

void DeviceQueue::issue(const Command& command) {
  if (in_step()) {
    step_.push_back(command);
  } else {
    bind();
    command.issue(command, target());
  }
}

std::int64_t DeviceQueue::grid_rows(std::int64_t n) const {
  if (in_step() && n < step_rows_) {
    return step_bucket_;
  }
  return in_step() && n % step_rows_ == 0 ? n / step_rows_ * step_bucket_ : n;
}

std::int64_t DeviceQueue::grid_elements(std::int64_t n) const {
  constexpr std::int64_t kMany = std::int64_t{1} << 20;
  if (!in_step()) {
    return n;
  }
  return n % step_rows_ == 0 ? n / step_rows_ * step_bucket_ : std::max(n, kMany);
}

Count DeviceQueue::count(std::int64_t n) {
  if (!in_step()) {
    return {.known = n};
  }
  return {.at = place(std::span<const std::int64_t>(&n, 1), 1)};
}

void DeviceQueue::make_room(std::initializer_list<std::int64_t> sizes_bytes) {
  bind();
  std::size_t bytes = 0;
  for (const std::int64_t size : sizes_bytes) {
    bytes += Parameters::rounded(static_cast<std::size_t>(size));
  }
  parameters_.make_room(bytes);
}

void DeviceQueue::begin_step(std::int64_t rows) {
  assert(rows > 0 && !in_step());
  if (broken_off_) {
    throw DeviceError("a step", "an earlier one broke off when the device had part of it",
                      "make the backend anew");
  }
  bind();
  step_.clear();
  issued_ = false;
  parameters_.begin_step();
  step_rows_ = rows;
  step_bucket_ = row_bucket(rows);
}

/// The step's parameters, then its commands. Kernels that follow a kernel need not wait for its end: they do
/// so themselves (device_language.cuh); beside copies and the library's products order is the stream's.
std::vector<Command> DeviceQueue::with_copies() const {
  std::vector<Command> commands;
  for (const Parameters::Copy& copy : parameters_.copies()) {
    commands.push_back(host_copy_command({.from = copy.from, .to = copy.to, .bytes = copy.bytes}));
  }
  bool after_kernel = false;
  for (const Command& command : step_) {
    commands.push_back(command);
    commands.back().overlaps = kernels_overlap_ && after_kernel && command.is_kernel() ? 1 : 0;
    after_kernel = command.is_kernel();
  }
  return commands;
}

void DeviceQueue::end_step() {
  assert(in_step());
  try {
    bind();
    if (!step_.empty()) {
      graphs_.run(with_copies(), target(), issued_);
    }
    synchronise();
  } catch (...) {
    abandon_step();
    throw;
  }
  step_bucket_ = 0;
  parameters_.end_step();
}

/// What the device has of the step may still read what the next one writes over. If the wait fails, nothing
/// runs any more.
void DeviceQueue::abandon_step() {
  if (issued_) {
    broken_off_ = true;
    static_cast<void>(cudaStreamSynchronize(stream_.get()));
  }
  step_.clear();
  step_bucket_ = 0;
  parameters_.end_step();
}

void DeviceQueue::flush() {
  if (!in_step()) {
    return;
  }
  bind();
  for (const Command& command : with_copies()) {
    command.issue(command, target());
    issued_ = true;
  }
  synchronise();
  step_.clear();
  parameters_.begin_step();
}

void DeviceQueue::synchronise() {
  check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
  retired_.clear();
}

std::byte* Scratch::reserve_bytes(DeviceQueue& queue, std::size_t bytes) {
  if (bytes > bytes_) {
    queue.bind();
    const auto wanted = static_cast<std::size_t>(rounded_capacity(static_cast<std::int64_t>(bytes)));
    DeviceMemory larger = allocate_device(wanted);
    if (!larger) {
      throw NoRoomError(
          "the device has no room for " + bytes_in_words(wanted) +
          " of scratch memory; allow fewer sessions, a smaller batch, or end what else uses the "
          "device");
    }
    queue.retire(std::exchange(memory_, std::move(larger)));
    bytes_ = wanted;
  }
  return memory_.get();
}

/// Now: what a step has written down comes later.
void Scratch::fill_zero(DeviceQueue& queue) {
  check(cudaMemsetAsync(memory_.get(), 0, bytes_, queue.stream()), "cudaMemsetAsync");
  zeroed_bytes_ = bytes_;
}

}  // namespace condensed::kernels::cuda
