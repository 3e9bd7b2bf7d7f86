#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/backend.h"

namespace condensed::kernels {

/// A weight matrix computed on in place, in the checkpoint's mapped memory.
class HostMatrix final : public Matrix {
 public:
  explicit HostMatrix(const MatrixView& view) : Matrix(view.rows, view.cols), view_(view) {}

  const MatrixView& view() const { return view_; }
  std::size_t bytes() const override;

  /// `matrix` must come from HostBackend::load_matrix().
  static const MatrixView& view_of(const Matrix& matrix);

 private:
  MatrixView view_;
};

/// What backends whose memory is the host's have in common: memory, and what is bound by it however written.
class HostBackend : public Backend {
 public:
  Memory allocate(std::size_t bytes) override;
  void upload(std::span<const std::byte> host, std::span<std::byte> device) override;
  void download(std::span<const std::byte> device, std::span<std::byte> host) override;
  std::unique_ptr<Matrix> load_matrix(const MatrixView& view) override;
  void copy(std::span<const float> from, std::span<float> to) override;
  void copy(std::span<const double> from, std::span<double> to) override;
  void fill_zero(std::span<float> x) override;
  void store_kv(std::span<const float> keys, std::span<const float> values, int n_kv_heads, int head_dim,
                DType dtype, std::span<const KvSlot> slots) override;
  void raise_to_difference(std::span<const float> a, std::span<const float> b,
                           std::span<float> largest) override;
  void choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                     std::span<std::int32_t> tokens) override;
  float max_abs_difference(std::span<const float> a, std::span<const float> b) override;

 private:
  void release(std::byte* data) noexcept override;

  ChoiceSpace choice_space_;
};

}  // namespace condensed::kernels
