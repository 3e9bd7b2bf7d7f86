#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "kernels/stored_row.h"

namespace condensed::kernels {

namespace {

// A token's head as numbers.
std::vector<float> loaded(const KvRun& run, const std::byte* data, std::int64_t head, std::int64_t token,
                          std::size_t head_dim) {
  std::vector<float> out(head_dim);
  load_row(run.dtype, data + head * run.head_stride_bytes + token * run.token_stride_bytes, out);
  return out;
}

// q · k / sqrt(head_dim)
double score(std::span<const float> query, std::span<const float> key) {
  double dot = 0;
  for (std::size_t d = 0; d < query.size(); ++d) {
    dot += double{query[d]} * key[d];
  }
  return dot / std::sqrt(static_cast<double>(query.size()));
}

// out = sum_j softmax(scores)_j · v_j over all tokens j of all runs; no token: zeros.
void attend_head(std::span<const float> query_stream, std::span<const float> query_sink,
                 std::span<const KvRun> runs, std::int64_t head, std::span<float> out) {
  std::vector<double> scores;
  for (const KvRun& run : runs) {
    for (std::int32_t j = 0; j < run.n_tokens; ++j) {
      scores.push_back(score(run.frame == Frame::sink ? query_sink : query_stream,
                             loaded(run, run.keys, head, j, out.size())));
    }
  }
  const double highest = scores.empty() ? 0 : std::ranges::max(scores);
  double total = 0;
  for (double& s : scores) {
    s = std::exp(s - highest);
    total += s;
  }
  std::vector<double> sums(out.size());
  std::size_t at_score = 0;
  for (const KvRun& run : runs) {
    for (std::int32_t j = 0; j < run.n_tokens; ++j, ++at_score) {
      const std::vector<float> value = loaded(run, run.values, head, j, out.size());
      for (std::size_t d = 0; d < out.size(); ++d) {
        sums[d] += scores[at_score] * value[d];
      }
    }
  }
  for (std::size_t d = 0; d < out.size(); ++d) {
    out[d] = scores.empty() ? 0.0F : static_cast<float>(sums[d] / total);
  }
}

// Calls write(r · weight.rows + o, sum_c x[r, c] · weight[o, c]) for all r and o.
template <typename Write>
void for_each_dot(const MatrixView& weight, std::span<const float> x, const Write& write) {
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / weight.cols;
  assert(static_cast<std::int64_t>(x.size()) == rows * weight.cols);
  std::vector<float> weight_row(static_cast<std::size_t>(weight.cols));
  for (std::int64_t o = 0; o < weight.rows; ++o) {
    load_row(weight.dtype, weight.row(o), weight_row);
    for (std::int64_t r = 0; r < rows; ++r) {
      double dot = 0;
      for (std::int64_t c = 0; c < weight.cols; ++c) {
        dot += double{x[r * weight.cols + c]} * weight_row[c];
      }
      write(r * weight.rows + o, dot);
    }
  }
}

}  // namespace

void ReferenceBackend::embed(const Matrix& table, std::span<const std::int32_t> tokens,
                             std::span<double> out) {
  const MatrixView& view = HostMatrix::view_of(table);
  assert(out.size() == tokens.size() * view.cols);
  std::vector<float> row(static_cast<std::size_t>(view.cols));
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    assert(tokens[r] >= 0 && tokens[r] < view.rows);
    load_row(view.dtype, view.row(tokens[r]), row);
    std::ranges::copy(row, out.begin() + static_cast<std::ptrdiff_t>(r * row.size()));
  }
}

void ReferenceBackend::rms_norm(std::span<const double> x, std::span<const float> weight, float epsilon,
                                std::span<float> out) {
  assert(x.size() == out.size() && x.size() % weight.size() == 0);
  const std::size_t cols = weight.size();
  for (std::size_t begin = 0; begin < x.size(); begin += cols) {
    double squares = 0;
    for (std::size_t c = 0; c < cols; ++c) {
      squares += x[begin + c] * x[begin + c];
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(cols) + epsilon);
    for (std::size_t c = 0; c < cols; ++c) {
      out[begin + c] = static_cast<float>(x[begin + c] * scale * weight[c]);
    }
  }
}

void ReferenceBackend::matmul(const Matrix& weight, std::span<const float> x, std::span<float> out) {
  for_each_dot(HostMatrix::view_of(weight), x,
               [&](std::int64_t i, double dot) { out[i] = static_cast<float>(dot); });
}

void ReferenceBackend::matmul_add(const Matrix& weight, std::span<const float> x, std::span<double> out) {
  for_each_dot(HostMatrix::view_of(weight), x, [&](std::int64_t i, double dot) { out[i] += dot; });
}

// (out[d], out[d + half]) = (x[d], x[d + half]) turned by angle d, half = head_dim / 2
void ReferenceBackend::rotate(std::span<const float> x, std::span<const float> angles, int head_dim,
                              std::span<float> out) {
  const std::size_t half = static_cast<std::size_t>(head_dim) / 2;
  const std::size_t rows = angles.size() / head_dim;
  assert(x.size() == out.size() && angles.size() == rows * head_dim);
  const std::size_t row_size = rows == 0 ? 0 : x.size() / rows;
  assert(x.size() == rows * row_size && row_size % head_dim == 0);
  for (std::size_t r = 0; r < rows; ++r) {
    const float* cosines = angles.data() + r * head_dim;
    const float* sines = cosines + half;
    for (std::size_t head = r * row_size; head < (r + 1) * row_size; head += head_dim) {
      for (std::size_t d = 0; d < half; ++d) {
        const double low = x[head + d];
        const double high = x[head + d + half];
        out[head + d] = static_cast<float>(low * cosines[d] - high * sines[d]);
        out[head + d + half] = static_cast<float>(high * cosines[d] + low * sines[d]);
      }
    }
  }
}

void ReferenceBackend::attend(const AttentionShape& shape, std::span<const float> queries_stream,
                              std::span<const float> queries_sink, std::span<const KvRun> runs,
                              std::span<const std::int32_t> run_begin, std::span<float> out) {
  const std::size_t rows = run_begin.size() - 1;
  const int group = shape.n_heads / shape.n_kv_heads;
  assert(out.size() == rows * shape.n_heads * shape.head_dim);
  assert(queries_stream.size() == out.size() && queries_sink.size() == out.size());
  for (std::size_t r = 0; r < rows; ++r) {
    const auto visible = runs.subspan(run_begin[r], run_begin[r + 1] - run_begin[r]);
    for (int h = 0; h < shape.n_heads; ++h) {
      const std::size_t at = (r * shape.n_heads + h) * shape.head_dim;
      attend_head(queries_stream.subspan(at, shape.head_dim), queries_sink.subspan(at, shape.head_dim),
                  visible, h / group, out.subspan(at, shape.head_dim));
    }
  }
}

void ReferenceBackend::swiglu(const Matrix& gate, const Matrix& up, std::span<const float> x,
                              std::span<float> out) {
  std::vector<double> gates(out.size());
  matmul_add(gate, x, gates);
  std::vector<double> ups(out.size());
  matmul_add(up, x, ups);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(gates[i] / (1.0 + std::exp(-gates[i])) * ups[i]);
  }
}

}  // namespace condensed::kernels
