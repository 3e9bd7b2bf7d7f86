#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cassert>
#include <type_traits>

#include "kernels/stored_row.h"

namespace condensed::kernels {

namespace {

// A range of a loop is at least this much work, and a loop of less than that stays on one thread. Units:
// about the time of one multiply-add that reads its weight from the second-level cache.
constexpr std::int64_t kRangeWork = 32 * 1024;
// Ranges for each thread when there is work for more: few, since each is a stream through memory that has to
// get going; several, since a thread may be held up.
constexpr std::int64_t kRangesPerThread = 6;
constexpr std::int64_t kOutputBlock = 4;  // outputs that the product kernels take at once

std::int64_t ssize_of(std::span<const float> x) {
  return static_cast<std::int64_t>(x.size());
}

std::int64_t range_size(std::int64_t work_per_item) {
  return std::max<std::int64_t>(1, kRangeWork / std::max<std::int64_t>(1, work_per_item));
}

// How many outputs of a product make a range.
std::int64_t product_range(const MatrixView& weight, std::int64_t rows, int n_threads) {
  const std::int64_t fair = weight.rows / (kRangesPerThread * n_threads);
  const std::int64_t outputs = std::max(fair, range_size(rows * weight.cols));
  return (outputs + kOutputBlock - 1) / kOutputBlock * kOutputBlock;
}

std::size_t attention_scratch_floats(std::int64_t group, std::int64_t head_dim) {
  const std::int64_t padded = (head_dim + 15) / 16 * 16;
  return static_cast<std::size_t>((3 * group + kAttentionTile) * padded + group * (kAttentionTile + 2));
}

}  // namespace

CpuBackend::CpuBackend(const SimdKernels& simd, int n_threads)
    : simd_(simd), team_(n_threads), scratch_(static_cast<std::size_t>(team_.size())) {}

void CpuBackend::embed(const Matrix& table, std::span<const std::int32_t> tokens, std::span<double> out) {
  const MatrixView& view = HostMatrix::view_of(table);
  assert(out.size() == tokens.size() * view.cols);
  reserve_scratch(static_cast<std::size_t>(view.cols));
  const std::span<float> row(scratch_of(0), static_cast<std::size_t>(view.cols));
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    assert(tokens[r] >= 0 && tokens[r] < view.rows);
    load_row(view.dtype, view.row(tokens[r]), row);
    std::ranges::copy(row, out.begin() + static_cast<std::ptrdiff_t>(r * row.size()));
  }
}

void CpuBackend::rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                          std::span<float> out) {
  assert(x.size() == out.size() && x.size() % weight.size() == 0);
  const std::int64_t cols = ssize_of(weight);
  team_.run(static_cast<std::int64_t>(x.size()) / cols, range_size(cols),
            [&](int, std::int64_t begin, std::int64_t end) {
              for (std::int64_t r = begin; r < end; ++r) {
                simd_.rms_norm(x.data() + r * cols, weight.data(), cols, epsilon, out.data() + r * cols);
              }
            });
}

void CpuBackend::matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) {
  share_product(HostMatrix::view_of(weight), x, out);
}

void CpuBackend::matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) {
  share_product(HostMatrix::view_of(weight), x, out);
}

template <typename Out>
void CpuBackend::multiply(const Product& product, Out* out) const {
  constexpr bool kAdd = std::is_same_v<Out, double>;
  const DType dtype = product.weight.dtype;
  if (dtype == DType::f32) {
    if constexpr (kAdd) {
      simd_.multiply_add_f32(product, out);
    } else {
      simd_.multiply_f32(product, out);
    }
  } else if (is_quantised(dtype)) {
    if constexpr (kAdd) {
      simd_.multiply_add_quantised(product, out);
    } else {
      simd_.multiply_quantised(product, out);
    }
  } else if constexpr (kAdd) {
    simd_.multiply_add_half(product, out);
  } else {
    simd_.multiply_half(product, out);
  }
}

/// The activations as quantised weights need them; nothing for other weights.
Activations CpuBackend::quantise(const MatrixView& weight, std::span<const float> x, std::int64_t rows) {
  if (!is_quantised(weight.dtype)) {
    return {};
  }
  const std::int64_t group = weight.dtype == DType::q8 ? kQ8Group : kQ4Group;
  const std::int64_t scale_stride = (weight.cols + group - 1) / group;
  const std::int64_t integer_stride = scale_stride * group;
  activation_integers_.resize(static_cast<std::size_t>(rows * integer_stride));
  activation_scales_.resize(static_cast<std::size_t>(rows * scale_stride));
  team_.run(rows, range_size(4 * weight.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      simd_.quantise_activations(x.data() + r * weight.cols, weight.cols, weight.dtype,
                                 activation_integers_.data() + r * integer_stride, integer_stride,
                                 activation_scales_.data() + r * scale_stride);
    }
  });
  return {.integers = activation_integers_.data(),
          .integer_stride = integer_stride,
          .scales = activation_scales_.data(),
          .scale_stride = scale_stride};
}

template <typename Out>
void CpuBackend::share_product(const MatrixView& weight, std::span<const float> x, std::span<Out> out) {
  const std::int64_t rows = ssize_of(x) / weight.cols;
  assert(ssize_of(x) == rows * weight.cols && static_cast<std::int64_t>(out.size()) == rows * weight.rows);
  const Activations activations = quantise(weight, x, rows);
  team_.run(weight.rows, product_range(weight, rows, team_.size()),
            [&](int, std::int64_t begin, std::int64_t end) {
              multiply({.weight = weight,
                        .x = x.data(),
                        .activations = activations,
                        .rows = rows,
                        .begin = begin,
                        .end = end,
                        .out_stride = weight.rows},
                       out.data() + begin);
            });
}

void CpuBackend::rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
                        std::span<float> out) {
  const std::int64_t rows = ssize_of(angles) / head_dim;
  assert(x.size() == out.size() && ssize_of(angles) == rows * head_dim);
  const std::int64_t row_size = rows == 0 ? 0 : ssize_of(x) / rows;
  assert(ssize_of(x) == rows * row_size && row_size % head_dim == 0);
  team_.run(rows, range_size(row_size), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t at = r * row_size; at < (r + 1) * row_size; at += head_dim) {
        simd_.rotate(x.data() + at, angles.data() + r * head_dim, head_dim, out.data() + at);
      }
    }
  });
}

void CpuBackend::attend(const AttentionShape& shape, std::span<const float> queries_stream,
                        std::span<const float> queries_sink, std::span<const KvRun> runs,
                        std::span<const std::int32_t> run_begin, std::span<float> out) {
  const auto rows = static_cast<std::int64_t>(run_begin.size()) - 1;
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const std::int64_t group_size = group * shape.head_dim;
  assert(ssize_of(out) == rows * shape.n_heads * shape.head_dim);
  assert(queries_stream.size() == out.size() && queries_sink.size() == out.size());
  reserve_scratch(attention_scratch_floats(group, shape.head_dim));

  std::int64_t n_tokens = 0;
  for (const KvRun& run : runs) {
    n_tokens += run.n_tokens;
  }
  const std::int64_t work_per_item = 2 * group_size * (n_tokens / std::max<std::int64_t>(1, rows) + 1);
  team_.run(rows * shape.n_kv_heads, range_size(work_per_item),
            [&](int thread, std::int64_t begin, std::int64_t end) {
              float* scratch = scratch_of(thread);
              for (std::int64_t item = begin; item < end; ++item) {
                const std::int64_t row = item / shape.n_kv_heads;
                const std::int64_t at = item * group_size;
                simd_.attend({.queries_stream = queries_stream.data() + at,
                              .queries_sink = queries_sink.data() + at,
                              .runs = runs.data() + run_begin[row],
                              .n_runs = run_begin[row + 1] - run_begin[row],
                              .kv_head = item % shape.n_kv_heads,
                              .group = group,
                              .head_dim = shape.head_dim,
                              .out = out.data() + at},
                             scratch);
              }
            });
}

void CpuBackend::swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x,
                        std::span<float> out) {
  const MatrixView& gate_view = HostMatrix::view_of(gate);
  const MatrixView& up_view = HostMatrix::view_of(up);
  const std::int64_t outputs = gate_view.rows;
  const std::int64_t rows = ssize_of(x) / gate_view.cols;
  assert(up_view.rows == outputs && up_view.cols == gate_view.cols && ssize_of(out) == rows * outputs);
  // One of the two may be quantised and the other not; both are so in the same format.
  assert(up_view.dtype == gate_view.dtype || !is_quantised(up_view.dtype) || !is_quantised(gate_view.dtype));
  const Activations activations = quantise(is_quantised(gate_view.dtype) ? gate_view : up_view, x, rows);
  const std::int64_t range = product_range(gate_view, rows, team_.size());
  const std::int64_t part = rows * std::min(range, outputs);  // of one of the two factors, in float64
  reserve_scratch(static_cast<std::size_t>(4 * part));
  const auto multiply_range = [&](float* scratch, std::int64_t begin, std::int64_t end) {
    auto* gates = reinterpret_cast<double*>(scratch);
    double* ups = gates + part;
    const std::int64_t n = end - begin;
    Product product{.weight = gate_view,
                    .x = x.data(),
                    .activations = activations,
                    .rows = rows,
                    .begin = begin,
                    .end = end,
                    .out_stride = n};
    std::fill_n(gates, 2 * part, 0.0);
    multiply(product, gates);
    product.weight = up_view;
    multiply(product, ups);
    for (std::int64_t r = 0; r < rows; ++r) {
      simd_.swiglu(gates + r * n, ups + r * n, n, out.data() + r * outputs + begin);
    }
  };
  team_.run(outputs, range, [&](int thread, std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += range) {  // a thread on its own gets all outputs at once
      multiply_range(scratch_of(thread), begin, std::min(begin + range, end));
    }
  });
}

float* CpuBackend::scratch_of(int thread) const {
  return reinterpret_cast<float*>(scratch_[static_cast<std::size_t>(thread)].get());
}

// One block per thread, so that no two share a cache line.
void CpuBackend::reserve_scratch(std::size_t floats) {
  if (floats <= scratch_floats_) {
    return;
  }
  for (Memory& block : scratch_) {
    block = allocate(floats * sizeof(float));
  }
  scratch_floats_ = floats;
}

}  // namespace condensed::kernels
