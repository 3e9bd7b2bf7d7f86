#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/device_attention.h"
#include "kernels/cuda/device_choices.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/device_products.h"
#include "kernels/cuda/device_queue.h"
#include "kernels/cuda/slab.h"

namespace condensed::kernels::cuda {

/// The arithmetic of the model on a CUDA device (docs/cuda.md). Operations are asynchronous; what waits says
/// so. After a DeviceError of a launch or of a wait the backend is of no more use.
class DeviceBackend final : public Backend {
 public:
  /// What is asked of the device at once for weights, activations and caches.
  static constexpr std::size_t kRegionBytes = std::size_t{256} << 20;

  using LoadBlas = std::function<std::unique_ptr<Blas>()>;

  /// load_blas: called with the device current. Throws DeviceError.
  DeviceBackend(int device, const LoadBlas& load_blas, std::size_t region_bytes = kRegionBytes);

  ~DeviceBackend() override;
  DeviceBackend(const DeviceBackend&) = delete;
  DeviceBackend& operator=(const DeviceBackend&) = delete;

  std::string_view name() const override { return "cuda"; }
  Memory allocate(std::size_t bytes) override;
  std::size_t reserve(std::size_t bytes) override;
  void upload(std::span<const std::byte> host, std::span<std::byte> device) override;
  void download(std::span<const std::byte> device, std::span<std::byte> host) override;
  std::unique_ptr<Matrix> load_matrix(const MatrixView& view) override;
  void embed(const Matrix& table, std::span<const std::int32_t> tokens, std::span<double> out) override;
  void rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                std::span<float> out) override;
  void matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) override;
  void matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) override;
  void rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
              std::span<float> out) override;
  void project(std::span<const Projection> projections, std::span<const float> x,
               const Angles& angles) override;
  void attend(const AttentionShape& shape, std::span<const float> queries_stream,
              std::span<const float> queries_sink, std::span<const KvRun> runs,
              std::span<const std::int32_t> run_begin, std::span<float> out) override;
  void swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x, std::span<float> out) override;
  void store_kv(std::span<const float> keys, std::span<const float> values, int n_kv_heads, int head_dim,
                DType dtype, std::span<const KvSlot> slots) override;
  void copy(std::span<const float> from, std::span<float> to) override;
  void copy(std::span<const double> from, std::span<double> to) override;
  void fill_zero(std::span<float> x) override;
  void begin_step(std::int64_t rows) override { queue_.begin_step(rows); }
  void end_step() override { queue_.end_step(); }
  void abandon_step() noexcept override;
  bool step_untouched() const noexcept override { return queue_.step_untouched(); }
  void keep_layout(std::int64_t rows) noexcept override { products_.keep_layout(rows); }
  /// The first runs command by command, the second is captured.
  int warm_up_steps() const override { return 2; }
  void raise_to_difference(std::span<const float> a, std::span<const float> b,
                           std::span<float> largest) override;
  void choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                     std::span<std::int32_t> tokens) override;
  float max_abs_difference(std::span<const float> a, std::span<const float> b) override;

 private:
  void release(std::byte* data) noexcept override;
  std::byte* grow(std::size_t bytes);
  std::size_t spare_bytes() const;
  [[noreturn]] void throw_no_room(std::size_t bytes) const;
  void copy_words(const void* from, void* to, std::size_t bytes);
  void upload_rows(const MatrixView& view, const Planes& planes, std::int64_t first, std::int64_t n_rows);

  DeviceQueue queue_;
  std::vector<DeviceMemory> regions_;
  Slab slab_;
  std::size_t reserved_bytes_ = 0;  // for caches; 0: none has been asked for
  DeviceProducts products_;
  DeviceAttention attention_;
  DeviceChoices choices_;
  PinnedMemory staging_;  // what is on its way to or from the host
  Scratch largest_;
  std::vector<StoredSlot> slots_;
};

}  // namespace condensed::kernels::cuda
