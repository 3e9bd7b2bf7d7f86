#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/host_backend.h"

namespace condensed::kernels {

/// Every operation written from its formula: single-threaded, accumulated in double, no intrinsics. What the
/// other backends are tested against, and what runs where none of them can.
class ReferenceBackend final : public HostBackend {
 public:
  std::string_view name() const override { return "reference"; }

  void embed(const Matrix& table, std::span<const std::int32_t> tokens, std::span<double> out) override;
  void rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                std::span<float> out) override;
  void matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) override;
  void matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) override;
  void rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
              std::span<float> out) override;
  void attend(const AttentionShape& shape, std::span<const float> queries_stream,
              std::span<const float> queries_sink, std::span<const KvRun> runs,
              std::span<const std::int32_t> run_begin, std::span<float> out) override;
  void swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x, std::span<float> out) override;
};

}  // namespace condensed::kernels
