#pragma once

#include <cmath>
#include <type_traits>

#include "kernels/cuda/device_language.cuh"

/// Attention of one query token over its runs of cached tokens. The host cuts a row's tokens into items of
/// equal length; a block takes one item and one head of keys for up to eight of the query heads that share
/// it, reads every key and every value once, and leaves what the softmax needs of them; the block that is
/// done last of a row's, for the same heads, puts the items together in their order. How a row is cut depends
/// on that row alone, so its numbers do, too.
namespace condensed::kernels::cuda {

constexpr int kAttendWarps = 4;
constexpr int kAttendThreads = kAttendWarps * kWarp;
constexpr int kMaxHeadDim = 256;  // eight numbers a lane
constexpr int kNumbers = 8;

/// Numbers d … d + 8 of a stored row of n; zeros past its end.
template <DType kType>
__device__ void load_numbers(const std::byte* row, int d, int n, bool vectors, float (&out)[kNumbers]) {
  if constexpr (kType == DType::f32) {
    const auto* at = reinterpret_cast<const float*>(row) + d;
    if (vectors) {
      const float4 low = reinterpret_cast<const float4*>(at)[0];
      const float4 high = reinterpret_cast<const float4*>(at)[1];
      out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
      out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
      return;
    }
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) {
      out[i] = d + i < n ? at[i] : 0.0F;
    }
  } else if constexpr (kType == DType::q8) {
    // Rows of a head stand 2 bytes off a multiple of 4: pairs are what can be read at once.
    const float scale = f16_bits_to_float(load_u16(row + n + d / static_cast<int>(kQ8Group) * 2));
#pragma unroll
    for (int i = 0; i < kNumbers; i += 2) {
      const std::uint32_t pair = d + i < n ? load_u16(row + d + i) : 0;  // n is even
      out[i] = signed_byte(pair, 0) * scale;
      out[i + 1] = signed_byte(pair, 1) * scale;
    }
  } else {
    std::uint32_t words[4];
    if (vectors) {
      const uint4 all = *reinterpret_cast<const uint4*>(row + 2 * d);
      words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool inside = d + 2 * i < n;
        words[i] = inside ? load_u16(row + 2 * (d + 2 * i)) | load_u16(row + 2 * (d + 2 * i) + 2) << 16 : 0;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = kType == DType::bf16 ? bf16_bits_to_float(words[i] & 0xffffU)
                                        : f16_bits_to_float(words[i] & 0xffffU);
      out[2 * i + 1] =
          kType == DType::bf16 ? bf16_bits_to_float(words[i] >> 16) : f16_bits_to_float(words[i] >> 16);
    }
  }
}

/// How the lanes of a warp share out tokens: `lanes` of them hold one token's numbers, eight each.
struct LanePlan {
  int lanes;   // a power of two, at least head_dim / 8
  int tokens;  // that a warp reads at once
  int token;   // which of them is this lane's
  int d;       // its first number
  bool busy;   // false: past the end of the head
};

__device__ inline LanePlan lane_plan(int head_dim) {
  int lanes = 1;
  while (lanes * kNumbers < head_dim) {
    lanes *= 2;
  }
  const int d = lane_index() % lanes * kNumbers;
  return {lanes, kWarp / lanes, lane_index() / lanes, d, d < head_dim};
}

/// The block's query heads' numbers of this lane.
template <int kHeads>
__device__ void load_queries(const float* queries, int n_heads, int head_dim, const LanePlan& plan,
                             float (&out)[kHeads][kNumbers]) {
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) {
      const bool inside = h < n_heads && plan.d + i < head_dim;
      out[h][i] = inside ? queries[h * head_dim + plan.d + i] : 0.0F;
    }
  }
}

/// scores[h, j] = q[h] · key of token j, scaled; for the tokens of one segment.
template <DType kType, int kHeads>
__device__ void score_segment(const Segment& segment, const std::byte* keys, int head_dim,
                              const LanePlan& plan, const float (&queries)[kHeads][kNumbers], float scale,
                              float* scores, int max_tokens) {
  const int step = kAttendWarps * plan.tokens;
#pragma unroll 2
  for (int first = warp_index() * plan.tokens; first < segment.n_tokens; first += step) {
    const int token = first + plan.token;
    float key[kNumbers] = {};
    if (token < segment.n_tokens && plan.busy) {
      load_numbers<kType>(keys + static_cast<std::int64_t>(token) * segment.token_stride_bytes, plan.d,
                          head_dim, segment.vectors != 0, key);
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float dot = 0;
#pragma unroll
      for (int i = 0; i < kNumbers; ++i) {
        dot = fmaf(queries[h][i], key[i], dot);
      }
      for (int lanes = plan.lanes / 2; lanes > 0; lanes /= 2) {
        dot += __shfl_xor_sync(kAllLanes, dot, lanes);
      }
      if (plan.d == 0 && token < segment.n_tokens) {
        scores[h * max_tokens + token] = dot * scale;
      }
    }
  }
}

/// sums[h] += weight of token j · its value's numbers, for the tokens of one segment.
template <DType kType, int kHeads>
__device__ void sum_segment(const Segment& segment, const std::byte* values, int head_dim,
                            const LanePlan& plan, const float* weights, int max_tokens,
                            float (&sums)[kHeads][kNumbers]) {
  if (!plan.busy) {
    return;
  }
  const int step = kAttendWarps * plan.tokens;
#pragma unroll 2
  for (int token = warp_index() * plan.tokens + plan.token; token < segment.n_tokens; token += step) {
    float value[kNumbers];
    load_numbers<kType>(values + static_cast<std::int64_t>(token) * segment.token_stride_bytes, plan.d,
                        head_dim, segment.vectors != 0, value);
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float weight = weights[h * max_tokens + token];
#pragma unroll
      for (int i = 0; i < kNumbers; ++i) {
        sums[h][i] = fmaf(weight, value[i], sums[h][i]);
      }
    }
  }
}

/// Turns the scores of each head into exp(score - highest); share: the highest and the sum.
template <int kHeads>
__device__ void weigh_scores(float* scores, int n_tokens, int max_tokens, int n_heads, float* shares) {
  for (int h = warp_index(); h < n_heads; h += kAttendWarps) {
    float* row = scores + h * max_tokens;
    float highest = -INFINITY;
    for (int j = lane_index(); j < n_tokens; j += kWarp) {
      highest = fmaxf(highest, row[j]);
    }
    highest = warp_max(highest);
    const float base = highest == -INFINITY ? 0.0F : highest;  // no difference of two infinities
    float total = 0;
    for (int j = lane_index(); j < n_tokens; j += kWarp) {
      const float weight = expf(row[j] - base);
      row[j] = weight;
      total += weight;
    }
    total = warp_sum(total);
    if (lane_index() == 0) {
      shares[2 * h] = highest;
      shares[2 * h + 1] = total;
    }
  }
}

/// Adds up the block's sums in the order of warps. shared: [heads, head_dim]
template <int kHeads>
__device__ void add_up(const LanePlan& plan, int n_heads, int head_dim, float (&sums)[kHeads][kNumbers],
                       float* shared, float* out) {
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) {
      for (int lanes = plan.lanes; lanes < kWarp; lanes *= 2) {
        sums[h][i] += __shfl_xor_sync(kAllLanes, sums[h][i], lanes);
      }
    }
  }
  for (int w = 0; w < kAttendWarps; ++w) {
    if (warp_index() == w && plan.token == 0) {
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
#pragma unroll
        for (int i = 0; i < kNumbers; ++i) {
          if (h < n_heads && plan.d + i < head_dim) {
            float& at = shared[h * head_dim + plan.d + i];
            at = w == 0 ? sums[h][i] : at + sums[h][i];
          }
        }
      }
    }
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < n_heads * head_dim; i += kAttendThreads) {
    out[i] = shared[i];
  }
}

/// Calls visit with the format of a segment as a type.
template <typename Visit>
__device__ void with_format(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::f32:
      visit(std::integral_constant<DType, DType::f32>{});
      break;
    case DType::bf16:
      visit(std::integral_constant<DType, DType::bf16>{});
      break;
    case DType::f16:
      visit(std::integral_constant<DType, DType::f16>{});
      break;
    default:
      visit(std::integral_constant<DType, DType::q8>{});
      break;
  }
}

/// Whether this block is the last of `n` that arrive here; what the others have written can then be read. All
/// threads call. The counter is zero again when the last has come. flag: shared.
__device__ inline bool arrives_last(unsigned* counter, unsigned n, int* flag) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool last = atomicAdd(counter, 1U) + 1 == n;
    if (last) {
      *counter = 0;
    }
    __threadfence();
    *flag = last ? 1 : 0;
  }
  __syncthreads();
  return *flag != 0;
}

/// out = the sums of items first … end put together, for heads first_head … first_head + n_heads.
__device__ inline void combine_items(const AttendArguments& arguments, std::int64_t row, std::int64_t first,
                                     std::int64_t end, int first_head, int n_heads) {
  for (int i = static_cast<int>(threadIdx.x); i < n_heads * arguments.head_dim; i += kAttendThreads) {
    const int head = first_head + i / arguments.head_dim;
    const int d = i % arguments.head_dim;
    const auto share = [&](std::int64_t item) {
      return arguments.shares + 2 * (item * arguments.n_heads + head);
    };
    float highest = -INFINITY;
    for (std::int64_t item = first; item < end; ++item) {
      highest = fmaxf(highest, __ldcg(share(item)));
    }
    float total = 0;
    float sum = 0;
    for (std::int64_t item = first; item < end; ++item) {
      const float weight = expf(__ldcg(share(item)) - highest);
      total = fmaf(__ldcg(share(item) + 1), weight, total);
      sum = fmaf(__ldcg(arguments.sums + (item * arguments.n_heads + head) * arguments.head_dim + d), weight,
                 sum);
    }
    arguments.out[(row * arguments.n_heads + head) * arguments.head_dim + d] = sum / total;
  }
}

/// grid: [items, n_kv_heads, groups of kHeads query heads]
template <int kHeads>
__global__ void __launch_bounds__(kAttendThreads, 3) attend(AttendArguments arguments) {
  take_turn();
  const std::int64_t item_index = blockIdx.x;
  if (item_index >= value_of(arguments.count)) {
    return;
  }
  const AttentionItem item = arguments.items[item_index];
  const int kv_head = static_cast<int>(blockIdx.y);
  const int group = arguments.n_heads / arguments.n_kv_heads;
  const int first_of_group = static_cast<int>(blockIdx.z) * kHeads;
  const int first_head = kv_head * group + first_of_group;
  const int n_heads = group - first_of_group < kHeads ? group - first_of_group : kHeads;
  const int head_dim = arguments.head_dim;
  const LanePlan plan = lane_plan(head_dim);
  auto* scores = reinterpret_cast<float*>(dynamic_shared_bytes);
  float* totals = scores + kHeads * arguments.max_tokens;
  const std::int64_t query =
      (static_cast<std::int64_t>(item.row) * arguments.n_heads + first_head) * head_dim;
  const float scale = 1.0F / sqrtf(static_cast<float>(head_dim));

  int done = 0;
  for (int s = 0; s < item.n_segments; ++s) {
    const Segment segment = arguments.segments[item.first_segment + s];
    float queries[kHeads][kNumbers];
    load_queries<kHeads>((segment.of_sinks != 0 ? arguments.queries_sink : arguments.queries_stream) + query,
                         n_heads, head_dim, plan, queries);
    const std::byte* keys = segment.keys + static_cast<std::int64_t>(kv_head) * segment.head_stride_bytes;
    with_format(segment.dtype, [&](auto type) {
      score_segment<decltype(type)::value, kHeads>(segment, keys, head_dim, plan, queries, scale,
                                                   scores + done, arguments.max_tokens);
    });
    done += segment.n_tokens;
  }
  __syncthreads();
  const std::int64_t place = item_index * arguments.n_heads + first_head;
  weigh_scores<kHeads>(scores, item.n_tokens, arguments.max_tokens, n_heads, arguments.shares + 2 * place);
  __syncthreads();

  float sums[kHeads][kNumbers] = {};
  done = 0;
  for (int s = 0; s < item.n_segments; ++s) {
    const Segment segment = arguments.segments[item.first_segment + s];
    const std::byte* values = segment.values + static_cast<std::int64_t>(kv_head) * segment.head_stride_bytes;
    with_format(segment.dtype, [&](auto type) {
      sum_segment<decltype(type)::value, kHeads>(segment, values, head_dim, plan, scores + done,
                                                 arguments.max_tokens, sums);
    });
    done += segment.n_tokens;
  }
  add_up<kHeads>(plan, n_heads, head_dim, sums, totals, arguments.sums + place * head_dim);

  if (item.n_tokens == 0) {  // all that the row has
    for (int i = static_cast<int>(threadIdx.x); i < n_heads * head_dim; i += kAttendThreads) {
      arguments.out[query + i] = 0;
    }
    return;
  }
  const std::int64_t first_item = arguments.item_begin[item.row];
  const std::int64_t end_item = arguments.item_begin[item.row + 1];
  const std::int64_t counter =
      (static_cast<std::int64_t>(item.row) * gridDim.y + blockIdx.y) * gridDim.z + blockIdx.z;
  if (arrives_last(arguments.arrived + counter, static_cast<unsigned>(end_item - first_item),
                   reinterpret_cast<int*>(dynamic_shared_bytes))) {
    combine_items(arguments, item.row, first_item, end_item, first_head, n_heads);
  }
}

/// What a block of attend() keeps in shared memory: scores and sums.
constexpr std::size_t attend_shared_bytes(int heads, int max_tokens, int head_dim) {
  return sizeof(float) * static_cast<std::size_t>(heads) * static_cast<std::size_t>(max_tokens + head_dim);
}

}  // namespace condensed::kernels::cuda
