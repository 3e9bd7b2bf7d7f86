#include <immintrin.h>

#include "kernels/cpu/avx2_kernels.h"
#include "kernels/cpu/avx2_vector.h"

namespace condensed::kernels::avx2 {

namespace {

// Tokens looked at together: their keys or values fit the first-level cache as float32.
constexpr std::int64_t kTile = 32;
constexpr std::int64_t kTokensInBlock = 4;

std::int64_t pad(std::int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

// Rows of float32, each `stride` after the one before, with zeros up to a multiple of the lanes.
struct Rows {
  const float* data;
  std::int64_t stride;
};

// The online softmax (arXiv 1805.02867) of one group of heads: a tile raises `highest`, the largest score so
// far, and what was summed up relative to the old one is scaled down.
class GroupState {
 public:
  GroupState(const AttentionGroup& heads, float* scratch);
  void add_tile(const KvRun& run, std::int64_t first, std::int64_t n);
  void write_output() const;

 private:
  Rows stage(const KvRun& run, const std::byte* data, std::int64_t first, std::int64_t n);
  void softmax(std::int64_t head, std::int64_t n);

  const AttentionGroup& heads_;
  std::int64_t padded_;    // head_dim, rounded up to the lanes
  float* queries_stream_;  // [group, padded], scaled by head_dim^-1/2
  float* queries_sink_;    // [group, padded], likewise
  float* sums_;            // [group, padded]: sum of e^(score - highest) · value
  float* tile_;            // [kTile, padded]
  float* scores_;          // [group, kTile]; e^(score - highest) after softmax()
  float* highest_;         // [group]
  float* totals_;          // [group]: sum of e^(score - highest)
};

void stage_queries(const AttentionGroup& heads, const float* queries, std::int64_t padded, float* out) {
  const __m256 scale =
      _mm256_div_ps(_mm256_set1_ps(1.0F), _mm256_sqrt_ps(_mm256_set1_ps(static_cast<float>(heads.head_dim))));
  for (std::int64_t g = 0; g < heads.group; ++g) {
    for (std::int64_t d = 0; d < padded; d += kLanes) {
      const __m256 query = load_first(queries + g * heads.head_dim + d, heads.head_dim - d);
      _mm256_store_ps(out + g * padded + d, _mm256_mul_ps(query, scale));
    }
  }
}

GroupState::GroupState(const AttentionGroup& heads, float* scratch)
    : heads_(heads), padded_(pad(heads.head_dim)) {
  const std::int64_t group = heads.group;
  queries_stream_ = scratch;
  queries_sink_ = queries_stream_ + group * padded_;
  sums_ = queries_sink_ + group * padded_;
  tile_ = sums_ + group * padded_;
  scores_ = tile_ + kTile * padded_;
  highest_ = scores_ + group * kTile;
  totals_ = highest_ + group;

  stage_queries(heads, heads.queries_stream, padded_, queries_stream_);
  stage_queries(heads, heads.queries_sink, padded_, queries_sink_);
  for (float* x = sums_; x < scores_; ++x) {  // the tile too: its padding stays zero
    *x = 0.0F;
  }
  for (std::int64_t g = 0; g < group; ++g) {
    highest_[g] = -__builtin_inff();
    totals_[g] = 0.0F;
  }
}

// n tokens as float32: in place where they are that already, else converted once for all heads of the group.
Rows GroupState::stage(const KvRun& run, const std::byte* data, std::int64_t first, std::int64_t n) {
  const std::byte* row = data + heads_.kv_head * run.head_stride_bytes + first * run.token_stride_bytes;
  if (run.dtype == DType::f32 && padded_ == heads_.head_dim && run.token_stride_bytes % 4 == 0) {
    return {reinterpret_cast<const float*>(row), run.token_stride_bytes / 4};
  }
  if (run.dtype != DType::q8 && padded_ == heads_.head_dim &&
      run.token_stride_bytes == row_bytes(run.dtype, heads_.head_dim)) {
    convert(run.dtype, row, n * padded_, tile_);
    return {tile_, padded_};
  }
  for (std::int64_t t = 0; t < n; ++t, row += run.token_stride_bytes) {
    convert(run.dtype, row, heads_.head_dim, tile_ + t * padded_);
  }
  return {tile_, padded_};
}

// scores[h, t] = query h · key t for n_heads heads and the tokens of a tile; up to three scores after the
// last token are written, and mean nothing.
template <int n_heads>
void score(const float* queries, std::int64_t padded, Rows keys, std::int64_t n_tokens, float* scores) {
  for (std::int64_t t = 0; t < n_tokens; t += kTokensInBlock) {
    const float* key[kTokensInBlock];
    __m256 sums[n_heads][kTokensInBlock];
#pragma GCC unroll 4
    for (int i = 0; i < kTokensInBlock; ++i) {
      key[i] = keys.data + (t + i < n_tokens ? t + i : t) * keys.stride;
#pragma GCC unroll 4
      for (int h = 0; h < n_heads; ++h) {
        sums[h][i] = _mm256_setzero_ps();
      }
    }
    for (std::int64_t d = 0; d < padded; d += kLanes) {
      __m256 query[n_heads];
#pragma GCC unroll 4
      for (int h = 0; h < n_heads; ++h) {
        query[h] = _mm256_load_ps(queries + h * padded + d);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kTokensInBlock; ++i) {
        const __m256 k = _mm256_loadu_ps(key[i] + d);
#pragma GCC unroll 4
        for (int h = 0; h < n_heads; ++h) {
          sums[h][i] = _mm256_fmadd_ps(query[h], k, sums[h][i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_heads; ++h) {
      _mm_store_ps(scores + h * kTile + t, sum_lanes(sums[h][0], sums[h][1], sums[h][2], sums[h][3]));
    }
  }
}

// scores → e^(score - highest), after raising the head's highest score to the tile's.
void GroupState::softmax(std::int64_t head, std::int64_t n) {
  float* scores = scores_ + head * kTile;
  const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
  for (std::int64_t t = n; t < pad(n); ++t) {
    scores[t] = -__builtin_inff();
  }
  __m256 tile_highest = lowest;
  for (std::int64_t t = 0; t < n; t += kLanes) {
    tile_highest = _mm256_max_ps(tile_highest, _mm256_load_ps(scores + t));
  }
  tile_highest = _mm256_max_ps(tile_highest, _mm256_permute2f128_ps(tile_highest, tile_highest, 1));
  tile_highest = _mm256_max_ps(tile_highest, _mm256_permute_ps(tile_highest, 0x4e));
  tile_highest = _mm256_max_ps(tile_highest, _mm256_permute_ps(tile_highest, 0xb1));

  const __m256 old_highest = _mm256_set1_ps(highest_[head]);
  const __m256 highest = _mm256_max_ps(old_highest, tile_highest);
  const __m256 correction = exp_lanes(_mm256_sub_ps(old_highest, highest));
  __m256 total = _mm256_setzero_ps();
  for (std::int64_t t = 0; t < n; t += kLanes) {
    const __m256 weight = exp_lanes(_mm256_sub_ps(_mm256_load_ps(scores + t), highest));
    _mm256_store_ps(scores + t, weight);
    total = _mm256_add_ps(total, weight);
  }
  totals_[head] = totals_[head] * _mm256_cvtss_f32(correction) + sum_lanes(total);
  highest_[head] = _mm256_cvtss_f32(highest);
  for (std::int64_t d = 0; d < padded_; d += kLanes) {
    float* sum = sums_ + head * padded_ + d;
    _mm256_store_ps(sum, _mm256_mul_ps(_mm256_load_ps(sum), correction));
  }
}

// sums[h, d] += weights[h, t] · values[t, d] over the tokens of a tile, for n_heads heads and n_vectors
// vectors of eight d.
template <int n_heads, int n_vectors>
void add_values(const float* weights, const float* values, std::int64_t stride, std::int64_t n_tokens,
                float* sums, std::int64_t padded) {
  __m256 sum[n_heads][n_vectors];
#pragma GCC unroll 4
  for (int h = 0; h < n_heads; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < n_vectors; ++v) {
      sum[h][v] = _mm256_load_ps(sums + h * padded + v * kLanes);
    }
  }
  for (std::int64_t t = 0; t < n_tokens; ++t) {
    __m256 value[n_vectors];
#pragma GCC unroll 4
    for (int v = 0; v < n_vectors; ++v) {
      value[v] = _mm256_loadu_ps(values + t * stride + v * kLanes);
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_heads; ++h) {
      const __m256 weight = _mm256_broadcast_ss(weights + h * kTile + t);
#pragma GCC unroll 4
      for (int v = 0; v < n_vectors; ++v) {
        sum[h][v] = _mm256_fmadd_ps(weight, value[v], sum[h][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < n_heads; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < n_vectors; ++v) {
      _mm256_store_ps(sums + h * padded + v * kLanes, sum[h][v]);
    }
  }
}

// The same for all of head_dim, n_vectors at a time.
template <int n_heads, int n_vectors>
void add_all_values(const float* weights, Rows values, std::int64_t n_tokens, float* sums,
                    std::int64_t padded) {
  std::int64_t d = 0;
  for (; d + n_vectors * kLanes <= padded; d += n_vectors * kLanes) {
    add_values<n_heads, n_vectors>(weights, values.data + d, values.stride, n_tokens, sums + d, padded);
  }
  for (; d < padded; d += kLanes) {
    add_values<n_heads, 1>(weights, values.data + d, values.stride, n_tokens, sums + d, padded);
  }
}

void GroupState::add_tile(const KvRun& run, std::int64_t first, std::int64_t n) {
  const std::int64_t group = heads_.group;
  const float* queries = run.frame == Frame::sink ? queries_sink_ : queries_stream_;
  const Rows keys = stage(run, run.keys, first, n);
  std::int64_t h = 0;
  for (; h + 3 <= group; h += 3) {
    score<3>(queries + h * padded_, padded_, keys, n, scores_ + h * kTile);
  }
  for (; h + 2 <= group; h += 2) {
    score<2>(queries + h * padded_, padded_, keys, n, scores_ + h * kTile);
  }
  for (; h < group; ++h) {
    score<1>(queries + h * padded_, padded_, keys, n, scores_ + h * kTile);
  }
  for (h = 0; h < group; ++h) {
    softmax(h, n);
  }
  const Rows values = stage(run, run.values, first, n);
  for (h = 0; h + 4 <= group; h += 4) {
    add_all_values<4, 2>(scores_ + h * kTile, values, n, sums_ + h * padded_, padded_);
  }
  for (; h + 2 <= group; h += 2) {
    add_all_values<2, 4>(scores_ + h * kTile, values, n, sums_ + h * padded_, padded_);
  }
  for (; h < group; ++h) {
    add_all_values<1, 4>(scores_ + h * kTile, values, n, sums_ + h * padded_, padded_);
  }
}

void GroupState::write_output() const {
  const std::int64_t head_dim = heads_.head_dim;
  for (std::int64_t g = 0; g < heads_.group; ++g) {
    const __m256 total = _mm256_set1_ps(totals_[g]);
    for (std::int64_t d = 0; d < head_dim; d += kLanes) {
      const __m256 sum = _mm256_load_ps(sums_ + g * padded_ + d);
      store_first(heads_.out + g * head_dim + d, head_dim - d, _mm256_div_ps(sum, total));
    }
  }
}

}  // namespace

std::size_t attention_scratch_floats(std::int64_t group, std::int64_t head_dim) {
  const std::int64_t padded = pad(head_dim);
  return static_cast<std::size_t>(3 * group * padded + kTile * padded + group * kTile + 2 * group);
}

void attend(const AttentionGroup& heads, float* scratch) {
  std::int64_t n_tokens = 0;
  for (std::int64_t i = 0; i < heads.n_runs; ++i) {
    n_tokens += heads.runs[i].n_tokens;
  }
  if (n_tokens == 0) {
    __builtin_memset(heads.out, 0, static_cast<std::size_t>(heads.group * heads.head_dim) * sizeof(float));
    return;
  }
  GroupState state(heads, scratch);
  for (std::int64_t i = 0; i < heads.n_runs; ++i) {
    const KvRun& run = heads.runs[i];
    for (std::int64_t first = 0; first < run.n_tokens; first += kTile) {
      const std::int64_t left = run.n_tokens - first;
      state.add_tile(run, first, left < kTile ? left : kTile);
    }
  }
  state.write_output();
}

}  // namespace condensed::kernels::avx2
