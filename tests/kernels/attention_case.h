#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/kernels/arrays.h"

namespace condensed::kernels::test {

/// One call of Backend::attend with random rows, each seeing up to five runs of its own: some empty, of
/// different formats, frames and strides.
class AttentionCase {
 public:
  AttentionCase(Random& random, const AttentionShape& shape, int rows, int max_run_tokens, float limit)
      : shape_(shape),
        limit_(limit),
        queries_stream_(random_floats(random, std::int64_t{rows} * row_size(), limit)),
        queries_sink_(random_floats(random, std::int64_t{rows} * row_size(), limit)) {
    run_begin_.push_back(0);
    for (int r = 0; r < rows; ++r) {
      const int n_runs = draw(random, 0, 5);
      for (int i = 0; i < n_runs; ++i) {
        add_run(random, draw(random, 0, 3) == 0 ? 0 : draw(random, 1, max_run_tokens));
      }
      run_begin_.push_back(static_cast<std::int32_t>(runs_.size()));
    }
  }

  int rows() const { return static_cast<int>(run_begin_.size()) - 1; }
  std::int64_t row_size() const { return std::int64_t{shape_.n_heads} * shape_.head_dim; }
  std::int64_t tokens_of(int row) const {
    std::int64_t n = 0;
    for (std::int32_t i = run_begin_[row]; i < run_begin_[row + 1]; ++i) {
      n += runs_[i].n_tokens;
    }
    return n;
  }

  std::vector<float> attend_all(Backend& backend) const {
    GuardedOutput out(rows() * row_size());
    backend.attend(shape_, queries_stream_, queries_sink_, runs_, run_begin_, out.span());
    return {out.span().begin(), out.span().end()};
  }

  std::vector<float> attend_row(Backend& backend, int row) const {
    GuardedOutput out(row_size());
    const auto at = static_cast<std::size_t>(row * row_size());
    const auto size = static_cast<std::size_t>(row_size());
    const std::int32_t ends[] = {run_begin_[row], run_begin_[row + 1]};
    backend.attend(shape_, std::span(queries_stream_).subspan(at, size),
                   std::span(queries_sink_).subspan(at, size), runs_, ends, out.span());
    return {out.span().begin(), out.span().end()};
  }

  /// What rounding may add to an element of `row`. A score of head_dim products is wrong by at most that many
  /// roundings of limit² · head_dim^(1/2); that is the relative error of its weight, of which the softmax has
  /// two (numerator and total), beside those of exp and of the sums; values are at most 1.
  double tolerance(int row) const {
    const double dim = shape_.head_dim;
    const double score_error = (dim / 8 + 8) * kRounding * double{limit_} * limit_ * std::sqrt(dim);
    return 2 * score_error + (16 + static_cast<double>(tokens_of(row))) * kRounding;
  }

 private:
  void add_run(Random& random, int n_tokens) {
    KvRun run;
    run.n_tokens = n_tokens;
    run.dtype = kCacheTypes[draw(random, 0, 3)];
    run.frame = draw(random, 0, 1) == 1 ? Frame::sink : Frame::stream;
    const bool heads_first = draw(random, 0, 1) == 1;
    const auto width = static_cast<int>(row_bytes(run.dtype, shape_.head_dim)) + 4 * draw(random, 0, 2);
    run.token_stride_bytes = heads_first ? width : width * shape_.n_kv_heads;
    run.head_stride_bytes = heads_first ? width * n_tokens : width;
    run.keys = stored_heads(random, run, limit_);
    run.values = stored_heads(random, run, 1.0F);
    runs_.push_back(run);
  }

  const std::byte* stored_heads(Random& random, const KvRun& run, float limit) {
    const auto offset = static_cast<std::size_t>(4 * draw(random, 0, 3));
    std::int64_t end = 0;
    const auto last_head = std::int64_t{shape_.n_kv_heads - 1} * run.head_stride_bytes;
    if (run.n_tokens > 0) {
      end = last_head + std::int64_t{run.n_tokens - 1} * run.token_stride_bytes +
            row_bytes(run.dtype, shape_.head_dim);
    }
    std::vector<std::byte>& bytes = stored_.emplace_back(offset + static_cast<std::size_t>(end));
    for (std::int64_t h = 0; h < shape_.n_kv_heads; ++h) {
      for (std::int64_t j = 0; j < run.n_tokens; ++j) {
        store_row(run.dtype, random_floats(random, shape_.head_dim, limit),
                  bytes.data() + offset + h * run.head_stride_bytes + j * run.token_stride_bytes);
      }
    }
    return bytes.data() + offset;
  }

  AttentionShape shape_;
  float limit_;
  std::vector<float> queries_stream_;
  std::vector<float> queries_sink_;
  std::vector<std::vector<std::byte>> stored_;  // moved when it grows; the bytes are not
  std::vector<KvRun> runs_;
  std::vector<std::int32_t> run_begin_;
};

}  // namespace condensed::kernels::test
