#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/thread_team.h"
#include "kernels/host_backend.h"

namespace condensed::kernels {

/// The vector kernels on a team of threads. Needs a processor that runs `simd`.
/// A number never depends on how many threads there are: work is split between results, no sum is.
class CpuBackend final : public HostBackend {
 public:
  /// n_threads: 0: one per processor this process may run on. Throws std::system_error.
  CpuBackend(const SimdKernels& simd, int n_threads);

  std::string_view name() const override { return simd_.name; }
  int n_threads() const { return team_.size(); }

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

 private:
  template <typename Out>
  void multiply(const Product& product, Out* out) const;
  template <typename Out>
  void share_product(const MatrixView& weight, std::span<const float> x, std::span<Out> out);
  Activations quantise(const MatrixView& weight, std::span<const float> x, std::int64_t rows);
  float* scratch_of(int thread) const;
  void reserve_scratch(std::size_t floats);

  const SimdKernels& simd_;
  ThreadTeam team_;
  std::size_t scratch_floats_ = 0;
  std::vector<Memory> scratch_;  // [n_threads], each [scratch_floats_]
  std::vector<std::int16_t> activation_integers_;
  std::vector<float> activation_scales_;
};

}  // namespace condensed::kernels
