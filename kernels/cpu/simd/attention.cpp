// Attention of the query heads that share a key-value head, over runs of cached tokens.

#include "kernels/cpu/simd/exp_lanes.h"
#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/lanes.h"

namespace condensed::kernels::CONDENSED_SIMD {

namespace {

// Their keys or values fit the first-level cache as float32.
constexpr std::int64_t kTile = kAttentionTile;
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
  const float scale = 1.0F / square_root(static_cast<float>(heads.head_dim));
  for (std::int64_t g = 0; g < heads.group; ++g) {
    for (std::int64_t d = 0; d < padded; d += kPartLanes) {
      const Part query = load_first(queries + g * heads.head_dim + d, heads.head_dim - d);
      store(out + g * padded + d, multiply(query, broadcast(&scale)));
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

// One stored row of n numbers as float32. Of `out`, whole parts are written at most up to the padding, which
// a row leaves zero.
template <DType dtype>
[[gnu::always_inline]] inline void stage_row(const std::byte* row, std::int64_t n, float* out) {
  if constexpr (dtype == DType::f32) {
    for (std::int64_t d = 0; d < n; d += kPartLanes) {
      store(out + d, load_first(reinterpret_cast<const float*>(row) + d, n - d));
    }
  } else if constexpr (dtype == DType::q8) {
    const std::byte* scales = row + n;
    std::int64_t d = 0;
    for (; d + kPartLanes <= n; d += kPartLanes) {
      const float scale = from_f16(bits_at(scales + d / kQ8Group * 2));
      store(out + d, multiply(from_i8(row + d), broadcast(&scale)));
    }
    for (; d < n; ++d) {
      out[d] =
          static_cast<float>(static_cast<std::int8_t>(row[d])) * from_f16(bits_at(scales + d / kQ8Group * 2));
    }
  } else {
    std::int64_t d = 0;
    for (; d + kPartLanes <= n; d += kPartLanes) {
      store(out + d, dtype == DType::bf16 ? from_bf16(row + 2 * d) : from_f16(row + 2 * d));
    }
    if (d < n) {
      alignas(64) std::byte rest[2 * kPartLanes] = {};
      __builtin_memcpy(rest, row + 2 * d, static_cast<std::size_t>(2 * (n - d)));
      store(out + d, dtype == DType::bf16 ? from_bf16(rest) : from_f16(rest));
    }
  }
}

template <DType dtype>
void stage_rows(const std::byte* row, std::int64_t stride_bytes, std::int64_t n_rows, std::int64_t n,
                std::int64_t padded, float* out) {
  for (std::int64_t t = 0; t < n_rows; ++t) {
    // Keys and values take turns: the next tile of these is asked for while the other is looked at.
    for (std::int64_t line = 0; line < row_bytes(dtype, n); line += 64) {
      __builtin_prefetch(row + (t + kTile) * stride_bytes + line);
    }
    stage_row<dtype>(row + t * stride_bytes, n, out + t * padded);
  }
}

// n tokens as float32: in place where they are that already, else converted once for all heads of the group.
Rows GroupState::stage(const KvRun& run, const std::byte* data, std::int64_t first, std::int64_t n) {
  const std::int64_t stride = run.token_stride_bytes;
  const std::byte* row = data + heads_.kv_head * run.head_stride_bytes + first * stride;
  const std::int64_t head_dim = heads_.head_dim;
  switch (run.dtype) {
    case DType::f32:
      if (padded_ == head_dim && stride % 4 == 0) {
        return {reinterpret_cast<const float*>(row), stride / 4};
      }
      stage_rows<DType::f32>(row, stride, n, head_dim, padded_, tile_);
      break;
    case DType::bf16:
      stage_rows<DType::bf16>(row, stride, n, head_dim, padded_, tile_);
      break;
    case DType::f16:
      stage_rows<DType::f16>(row, stride, n, head_dim, padded_, tile_);
      break;
    case DType::q8:
      stage_rows<DType::q8>(row, stride, n, head_dim, padded_, tile_);
      break;
    case DType::q4:
      break;  // weights only
  }
  return {tile_, padded_};
}

// scores[h, t] = query h · key t for n_heads heads and the tokens of a tile; up to three scores after the
// last token are written, and mean nothing.
template <int n_heads>
void score(const float* queries, std::int64_t padded, Rows keys, std::int64_t n_tokens, float* scores) {
  for (std::int64_t t = 0; t < n_tokens; t += kTokensInBlock) {
    const float* key[kTokensInBlock];
#pragma GCC unroll 4
    for (int i = 0; i < kTokensInBlock; ++i) {
      key[i] = keys.data + (t + i < n_tokens ? t + i : t) * keys.stride;
    }
    Part totals[n_heads][kTokensInBlock][kParts];
#pragma GCC unroll 2
    for (int p = 0; p < kParts; ++p) {
      Part sums[n_heads][kTokensInBlock];
#pragma GCC unroll 4
      for (int i = 0; i < kTokensInBlock; ++i) {
#pragma GCC unroll 4
        for (int h = 0; h < n_heads; ++h) {
          sums[h][i] = zero();
        }
      }
      for (std::int64_t d = p * kPartLanes; d < padded; d += kLanes) {
        Part query[n_heads];
#pragma GCC unroll 4
        for (int h = 0; h < n_heads; ++h) {
          query[h] = load(queries + h * padded + d);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kTokensInBlock; ++i) {
          const Part k = load(key[i] + d);
#pragma GCC unroll 4
          for (int h = 0; h < n_heads; ++h) {
            sums[h][i] = multiply_add(query[h], k, sums[h][i]);
          }
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kTokensInBlock; ++i) {
#pragma GCC unroll 4
        for (int h = 0; h < n_heads; ++h) {
          totals[h][i][p] = sums[h][i];
        }
      }
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_heads; ++h) {
      store_sums(scores + h * kTile + t, folded(totals[h][0]), folded(totals[h][1]), folded(totals[h][2]),
                 folded(totals[h][3]));
    }
  }
}

// scores → e^(score - highest), after raising the head's highest score to the tile's.
void GroupState::softmax(std::int64_t head, std::int64_t n) {
  float* scores = scores_ + head * kTile;
  constexpr float kLowest = -__builtin_inff();
  for (std::int64_t t = n; t < (n + 7) / 8 * 8; ++t) {
    scores[t] = kLowest;
  }
  Eight tile_highest = eight_of(kLowest);
  for (std::int64_t t = 0; t < n; t += 8) {
    tile_highest = max(tile_highest, load_eight(scores + t));
  }
  const Eight old_highest = eight_of(highest_[head]);
  const Eight highest = max(old_highest, eight_of(largest(tile_highest)));
  const float factor = first(exp_lanes(subtract(old_highest, highest)));
  Eight total = eight_of(0.0F);
  for (std::int64_t t = 0; t < n; t += 8) {
    const Eight weight = exp_lanes(subtract(load_eight(scores + t), highest));
    store(scores + t, weight);
    total = add(total, weight);
  }
  totals_[head] = totals_[head] * factor + sum(total);
  highest_[head] = first(highest);
  for (std::int64_t d = 0; d < padded_; d += kPartLanes) {
    float* sum = sums_ + head * padded_ + d;
    store(sum, multiply(load(sum), broadcast(&factor)));
  }
}

// sums[h, d] += weights[h, t] · values[t, d] over the tokens of a tile, for n_heads heads and n_vectors
// parts of d.
template <int n_heads, int n_vectors>
void add_values(const float* weights, const float* values, std::int64_t stride, std::int64_t n_tokens,
                float* sums, std::int64_t padded) {
  Part sum[n_heads][n_vectors];
#pragma GCC unroll 4
  for (int h = 0; h < n_heads; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < n_vectors; ++v) {
      sum[h][v] = load(sums + h * padded + v * kPartLanes);
    }
  }
  for (std::int64_t t = 0; t < n_tokens; ++t) {
    Part value[n_vectors];
#pragma GCC unroll 4
    for (int v = 0; v < n_vectors; ++v) {
      value[v] = load(values + t * stride + v * kPartLanes);
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_heads; ++h) {
      const Part weight = broadcast(weights + h * kTile + t);
#pragma GCC unroll 4
      for (int v = 0; v < n_vectors; ++v) {
        sum[h][v] = multiply_add(weight, value[v], sum[h][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < n_heads; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < n_vectors; ++v) {
      store(sums + h * padded + v * kPartLanes, sum[h][v]);
    }
  }
}

// The same for all of head_dim, n_vectors at a time.
template <int n_heads, int n_vectors>
void add_all_values(const float* weights, Rows values, std::int64_t n_tokens, float* sums,
                    std::int64_t padded) {
  std::int64_t d = 0;
  for (; d + n_vectors * kPartLanes <= padded; d += n_vectors * kPartLanes) {
    add_values<n_heads, n_vectors>(weights, values.data + d, values.stride, n_tokens, sums + d, padded);
  }
  for (; d < padded; d += kPartLanes) {
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
    for (std::int64_t d = 0; d < head_dim; d += kPartLanes) {
      const Part sum = load(sums_ + g * padded_ + d);
      store_first(heads_.out + g * head_dim + d, head_dim - d, divide(sum, broadcast(&totals_[g])));
    }
  }
}

}  // namespace

void attend(const AttentionGroup& heads, float* scratch);
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

}  // namespace condensed::kernels::CONDENSED_SIMD
