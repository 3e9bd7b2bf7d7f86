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
    const int gap = draw(random, 0, 2);
    const bool heads_first = draw(random, 0, 1) == 1;
    const int width = shape_.head_dim + gap;
    KvRun run;
    run.n_tokens = n_tokens;
    run.token_stride = heads_first ? width : width * shape_.n_kv_heads;
    run.head_stride = heads_first ? width * n_tokens : width;
    run.dtype = kDTypes[draw(random, 0, 2)];
    run.frame = draw(random, 0, 1) == 1 ? Frame::sink : Frame::stream;
    const std::int64_t n = std::int64_t{width} * n_tokens * shape_.n_kv_heads;
    const std::size_t offset = bytes_of(run.dtype) * static_cast<std::size_t>(draw(random, 0, 3));
    keys_.emplace_back(run.dtype, random_floats(random, n, limit_), offset);
    values_.emplace_back(run.dtype, random_floats(random, n), offset);
    run.keys = keys_.back().data();
    run.values = values_.back().data();
    runs_.push_back(run);
  }

  AttentionShape shape_;
  float limit_;
  std::vector<float> queries_stream_;
  std::vector<float> queries_sink_;
  std::vector<StoredArray> keys_;  // moved when the vector grows; their bytes are not
  std::vector<StoredArray> values_;
  std::vector<KvRun> runs_;
  std::vector<std::int32_t> run_begin_;
};

}  // namespace condensed::kernels::test
