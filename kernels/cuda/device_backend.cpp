#include "kernels/cuda/device_backend.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/cuda/checked.h"
#include "kernels/cuda/cuda_devices.h"
#include "kernels/cuda/device_error.h"
#include "kernels/cuda/launches.h"
#include "kernels/cuda/stored_planes.h"

namespace condensed::kernels::cuda {

namespace {

constexpr std::size_t kStagingBytes = std::size_t{16} << 20;

const std::uint32_t* words(const void* data) {
  return static_cast<const std::uint32_t*>(data);
}

}  // namespace

DeviceBackend::DeviceBackend(int device, const LoadBlas& load_blas, std::size_t region_bytes)
    : queue_(device,
             [&] {
               check(cudaSetDevice(device), "cudaSetDevice");
               return load_blas();
             }()),
      slab_(region_bytes, [this](std::size_t bytes) { return grow(bytes); }),
      products_(queue_),
      attention_(queue_),
      choices_(queue_),
      staging_(allocate_pinned(kStagingBytes)) {}

/// Before the memory goes that what runs may use; if the wait fails, nothing runs.
DeviceBackend::~DeviceBackend() {
  static_cast<void>(cudaStreamSynchronize(queue_.stream()));
}

/// Once caches have their memory, what is left is for steps: nothing that is allocated may take it.
std::byte* DeviceBackend::grow(std::size_t bytes) {
  if (reserved_bytes_ > 0 && bytes > spare_bytes()) {
    return nullptr;
  }
  DeviceMemory region = allocate_device(bytes);
  std::byte* data = region.get();
  if (region) {
    regions_.push_back(std::move(region));
  }
  return data;
}

/// Free, and not kept for steps.
std::size_t DeviceBackend::spare_bytes() const {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free - std::min(free, cuda_kept_bytes(total));
}

void DeviceBackend::throw_no_room(std::size_t bytes) const {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  throw NoRoomError("the device has no room for " + bytes_in_words(bytes) + ": " + bytes_in_words(free) +
                    " of " + bytes_in_words(total) + " are free; condensed holds " +
                    bytes_in_words(slab_.held_bytes()) + ", of which " + bytes_in_words(slab_.used_bytes()) +
                    " are in use; allow fewer or smaller sessions, use fewer bits for weights or caches, or "
                    "end what else uses the device");
}

Memory DeviceBackend::allocate(std::size_t bytes) {
  queue_.bind();
  std::byte* data = slab_.take(bytes);
  if (data == nullptr) {
    throw_no_room(bytes);
  }
  Memory memory(data, MemoryRelease{this});
  // In the stream's turn: what had the block before may still be read by what was issued earlier.
  check(cudaMemsetAsync(data, 0, bytes, queue_.stream()), "cudaMemsetAsync");
  return memory;
}

/// All of it in one region, if the device has that much beside what scratch memory and graphs will take. What
/// is free may be in pieces: then less, down to an eighth.
std::size_t DeviceBackend::reserve(std::size_t bytes) {
  if (bytes <= reserved_bytes_) {
    return bytes;
  }
  queue_.bind();
  const std::size_t most = spare_bytes();
  // The first time the hole that weights and activations have left is there for caches, too.
  if (reserved_bytes_ == 0) {
    reserved_bytes_ = slab_.largest_free_bytes() / 65 * 64;
  }
  if (bytes <= reserved_bytes_) {
    return bytes;
  }
  // Blocks are rounded up to multiples of 256 bytes.
  const std::size_t missing = bytes - reserved_bytes_;
  const bool fits = missing <= most && missing / 64 <= most - missing;
  const std::size_t wanted = fits ? missing + missing / 64 : most;
  for (std::size_t region = wanted; region > wanted / 8; region -= region / 8) {
    if (slab_.add_region(region)) {
      reserved_bytes_ += region - region / 65;
      return std::min(bytes, reserved_bytes_);
    }
  }
  if (reserved_bytes_ == 0) {
    throw_no_room(bytes);
  }
  return reserved_bytes_;
}

void DeviceBackend::release(std::byte* data) noexcept {
  slab_.give_back(data);
}

void DeviceBackend::upload(std::span<const std::byte> host, std::span<std::byte> device) {
  assert(host.size() == device.size());
  const bool in_words = host.size() % sizeof(float) == 0 &&
                        reinterpret_cast<std::uintptr_t>(device.data()) % sizeof(float) == 0;
  if (queue_.in_step() && in_words) {
    copy_words(queue_.place_rows(host), device.data(), host.size());
    return;
  }
  queue_.flush();
  queue_.bind();
  for (std::size_t done = 0; done < host.size();) {
    const std::size_t n = std::min(kStagingBytes, host.size() - done);
    std::memcpy(staging_.get(), host.data() + done, n);
    check(cudaMemcpyAsync(device.data() + done, staging_.get(), n, cudaMemcpyHostToDevice, queue_.stream()),
          "cudaMemcpyAsync");
    queue_.synchronise();
    done += n;
  }
}

void DeviceBackend::download(std::span<const std::byte> device, std::span<std::byte> host) {
  assert(host.size() == device.size());
  queue_.flush();
  queue_.bind();
  for (std::size_t done = 0; done < host.size();) {
    const std::size_t n = std::min(kStagingBytes, host.size() - done);
    check(cudaMemcpyAsync(staging_.get(), device.data() + done, n, cudaMemcpyDeviceToHost, queue_.stream()),
          "cudaMemcpyAsync");
    queue_.synchronise();
    std::memcpy(host.data() + done, staging_.get(), n);
    done += n;
  }
}

/// planes: addresses of the rows' own planes.
void DeviceBackend::upload_rows(const MatrixView& view, const Planes& planes, std::int64_t first,
                                std::int64_t n_rows) {
  const PlaneBytes bytes = plane_bytes(planes, n_rows);
  std::vector<std::byte> split(bytes.total());
  split_rows(view, planes, first, n_rows, split);
  const std::span<const std::byte> all(split);
  const auto send = [&](std::size_t offset, std::int64_t stride, const std::byte* plane) {
    const auto n = static_cast<std::size_t>(n_rows * stride);
    upload(all.subspan(offset, n), {const_cast<std::byte*>(plane) + first * stride, n});
  };
  send(0, planes.number_stride, planes.numbers);
  send(bytes.numbers, planes.factor_stride, planes.factors);
  send(bytes.numbers + bytes.factors, planes.scale_stride, planes.scales);
}

std::unique_ptr<Matrix> DeviceBackend::load_matrix(const MatrixView& view) {
  assert(view.data != nullptr && view.rows > 0 && view.cols > 0);
  Planes planes = planes_of(view.dtype, view.rows, view.cols);
  const PlaneBytes bytes = plane_bytes(planes, view.rows);
  Memory memory = allocate(bytes.total());
  planes.numbers = memory.get();
  planes.factors = planes.numbers + bytes.numbers;
  planes.scales = planes.factors + bytes.factors;
  const std::int64_t rows_at_once =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kStagingBytes) /
                                    (planes.number_stride + planes.factor_stride + planes.scale_stride));
  for (std::int64_t first = 0; first < view.rows; first += rows_at_once) {
    upload_rows(view, planes, first, std::min(rows_at_once, view.rows - first));
  }
  return std::make_unique<DeviceMatrix>(view.dtype, planes, std::move(memory));
}

void DeviceBackend::embed(const Matrix& table, std::span<const std::int32_t> tokens, std::span<double> out) {
  const DeviceMatrix& matrix = DeviceMatrix::of(table);
  assert(out.size() == tokens.size() * static_cast<std::size_t>(table.cols()));
  const std::int64_t rows = std::ssize(tokens);
  if (rows > 0) {
    queue_.issue(embed_command(queue_.grid_rows(rows), {.table = matrix.planes(),
                                                        .tokens = queue_.place_rows(tokens),
                                                        .out = out.data(),
                                                        .count = queue_.count(rows),
                                                        .dtype = matrix.dtype()}));
  }
}

void DeviceBackend::rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                             std::span<float> out) {
  assert(x.size() == out.size() && x.size() % weight.size() == 0);
  const auto rows = static_cast<std::int64_t>(x.size() / weight.size());
  if (rows > 0) {
    queue_.issue(rms_norm_command(queue_.grid_rows(rows), {.x = x.data(),
                                                           .weight = weight.data(),
                                                           .out = out.data(),
                                                           .count = queue_.count(rows),
                                                           .cols = static_cast<std::int32_t>(weight.size()),
                                                           .epsilon = epsilon}));
  }
}

void DeviceBackend::matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) {
  products_.product(DeviceMatrix::of(weight), x, Epilogue::store, out.data());
}

void DeviceBackend::matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) {
  products_.product(DeviceMatrix::of(weight), x, Epilogue::add, out.data());
}

void DeviceBackend::swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x,
                           std::span<float> out) {
  products_.swiglu(DeviceMatrix::of(gate), DeviceMatrix::of(up), x, out.data());
}

void DeviceBackend::rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
                           std::span<float> out) {
  const std::int64_t rows = std::ssize(angles) / head_dim;
  assert(x.size() == out.size() && std::ssize(angles) == rows * head_dim);
  if (rows > 0) {
    queue_.issue(
        rotate_command(queue_.grid_rows(rows), {.x = x.data(),
                                                .angles = angles.data(),
                                                .out = out.data(),
                                                .count = queue_.count(rows),
                                                .row_size = static_cast<std::int32_t>(std::ssize(x) / rows),
                                                .head_dim = head_dim}));
  }
}

void DeviceBackend::project(std::span<const Projection> projections, std::span<const float> x,
                            const Angles& angles) {
  while (!projections.empty()) {
    std::size_t n = products_.project(projections, x, angles);
    if (n == 0) {
      n = 1;
      Backend::project(projections.first(n), x, angles);
    }
    projections = projections.subspan(n);
  }
}

void DeviceBackend::attend(const AttentionShape& shape, std::span<const float> queries_stream,
                           std::span<const float> queries_sink, std::span<const KvRun> runs,
                           std::span<const std::int32_t> run_begin, std::span<float> out) {
  attention_.attend(shape, queries_stream, queries_sink, runs, run_begin, out);
}

void DeviceBackend::store_kv(std::span<const float> keys, std::span<const float> values, int n_kv_heads,
                             int head_dim, DType dtype, std::span<const KvSlot> slots) {
  assert(keys.size() == values.size());
  const std::int64_t rows = std::ssize(slots);
  if (rows == 0) {
    return;
  }
  slots_.clear();
  for (const KvSlot& slot : slots) {
    slots_.push_back({.keys = slot.keys,
                      .values = slot.values,
                      .head_stride_bytes = slot.head_stride_bytes,
                      .row = slot.row});
  }
  queue_.issue(store_kv_command(queue_.grid_rows(rows),
                                {.keys = keys.data(),
                                 .values = values.data(),
                                 .slots = queue_.place_rows(std::span<const StoredSlot>(slots_)),
                                 .count = queue_.count(rows),
                                 .n_kv_heads = n_kv_heads,
                                 .head_dim = head_dim,
                                 .dtype = dtype}));
}

void DeviceBackend::copy_words(const void* from, void* to, std::size_t bytes) {
  const auto n = static_cast<std::int64_t>(bytes / sizeof(std::uint32_t));
  if (n > 0) {
    queue_.issue(
        copy_command(queue_.grid_elements(n),
                     {.from = words(from), .to = static_cast<std::uint32_t*>(to), .count = queue_.count(n)}));
  }
}

void DeviceBackend::copy(std::span<const float> from, std::span<float> to) {
  assert(from.size() == to.size());
  copy_words(from.data(), to.data(), from.size_bytes());
}

void DeviceBackend::copy(std::span<const double> from, std::span<double> to) {
  assert(from.size() == to.size());
  copy_words(from.data(), to.data(), from.size_bytes());
}

void DeviceBackend::fill_zero(std::span<float> x) {
  if (!x.empty()) {
    queue_.issue(fill_zero_command(queue_.grid_elements(std::ssize(x)),
                                   {.to = x.data(), .count = queue_.count(std::ssize(x))}));
  }
}

void DeviceBackend::abandon_step() noexcept {
  if (queue_.in_step()) {
    queue_.abandon_step();
  }
}

void DeviceBackend::raise_to_difference(std::span<const float> a, std::span<const float> b,
                                        std::span<float> largest) {
  assert(a.size() == b.size() && largest.size() == 1);
  if (!a.empty()) {
    queue_.issue(difference_command(queue_.grid_elements(std::ssize(a)),
                                    {.a = a.data(),
                                     .b = b.data(),
                                     .largest = reinterpret_cast<unsigned*>(largest.data()),
                                     .count = queue_.count(std::ssize(a))}));
  }
}

float DeviceBackend::max_abs_difference(std::span<const float> a, std::span<const float> b) {
  const std::span<float> largest(largest_.reserve<float>(queue_, 1), 1);
  fill_zero(largest);
  raise_to_difference(a, b, largest);
  float value = 0;
  download(std::as_bytes(largest), std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

void DeviceBackend::choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                                  std::span<std::int32_t> tokens) {
  choices_.choose_tokens(logits, choices, tokens);
}

}  // namespace condensed::kernels::cuda
