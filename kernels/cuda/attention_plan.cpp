#include "kernels/cuda/attention_plan.h"

#include <algorithm>
#include <bit>

namespace condensed::kernels::cuda {

namespace {

constexpr std::int64_t kWantedBlocks = 512;  // of one row, all heads together
constexpr std::int64_t kLeastTokens = 64;
constexpr std::int64_t kMostTokens = 512;

/// Whether eight numbers from any multiple of eight on may be read as 16-byte vectors.
bool reads_vectors(const KvRun& run, int head_dim) {
  const auto keys = reinterpret_cast<std::uintptr_t>(run.keys);
  const auto values = reinterpret_cast<std::uintptr_t>(run.values);
  const auto strides = static_cast<std::uintptr_t>(run.token_stride_bytes | run.head_stride_bytes);
  return run.dtype != DType::q8 && head_dim % 8 == 0 && ((keys | values | strides) & 15U) == 0;
}

Segment piece_of(const KvRun& run, std::int32_t first, std::int32_t n, int head_dim) {
  const std::int64_t offset = std::int64_t{first} * run.token_stride_bytes;
  return {.keys = run.keys + offset,
          .values = run.values + offset,
          .n_tokens = n,
          .token_stride_bytes = run.token_stride_bytes,
          .head_stride_bytes = run.head_stride_bytes,
          .dtype = run.dtype,
          .of_sinks = static_cast<std::uint8_t>(run.frame == Frame::sink ? 1 : 0),
          .vectors = static_cast<std::uint8_t>(reads_vectors(run, head_dim) ? 1 : 0)};
}

}  // namespace

std::int32_t chunk_tokens(std::int64_t n_tokens, int n_kv_heads) {
  const std::int64_t chunks = std::max<std::int64_t>(1, kWantedBlocks / n_kv_heads);
  const auto wanted = static_cast<std::uint64_t>((n_tokens + chunks - 1) / chunks);
  return static_cast<std::int32_t>(
      std::clamp(static_cast<std::int64_t>(std::bit_ceil(wanted)), kLeastTokens, kMostTokens));
}

void AttentionPlan::add_row(const AttentionShape& shape, std::int32_t row, std::span<const KvRun> runs) {
  std::int64_t n_tokens = 0;
  for (const KvRun& run : runs) {
    n_tokens += run.n_tokens;
  }
  if (n_tokens == 0) {  // somebody has to write its zeros
    items.push_back({.row = row, .first_segment = static_cast<std::int32_t>(segments.size())});
    return;
  }
  const std::int32_t chunk = chunk_tokens(n_tokens, shape.n_kv_heads);
  std::int32_t room = 0;  // of the row's last item
  for (const KvRun& run : runs) {
    for (std::int32_t first = 0; first < run.n_tokens;) {
      if (room == 0) {
        items.push_back({.row = row, .first_segment = static_cast<std::int32_t>(segments.size())});
        room = chunk;
      }
      const std::int32_t n = std::min(room, run.n_tokens - first);
      segments.push_back(piece_of(run, first, n, shape.head_dim));
      ++items.back().n_segments;
      items.back().n_tokens += n;
      max_tokens = std::max(max_tokens, items.back().n_tokens);
      room -= n;
      first += n;
    }
  }
}

void AttentionPlan::make(const AttentionShape& shape, std::span<const KvRun> runs,
                         std::span<const std::int32_t> run_begin) {
  items.clear();
  segments.clear();
  item_begin.assign(1, 0);
  max_tokens = max_items = max_segments = 0;
  for (std::size_t r = 0; r + 1 < run_begin.size(); ++r) {
    const std::size_t n_segments = segments.size();
    add_row(shape, static_cast<std::int32_t>(r),
            runs.subspan(static_cast<std::size_t>(run_begin[r]),
                         static_cast<std::size_t>(run_begin[r + 1] - run_begin[r])));
    max_items = std::max(max_items, static_cast<std::int32_t>(items.size()) - item_begin.back());
    max_segments = std::max(max_segments, static_cast<std::int32_t>(segments.size() - n_segments));
    item_begin.push_back(static_cast<std::int32_t>(items.size()));
  }
  // Not less, so that a step of young streams is laid out like one of older ones.
  max_tokens = std::max(static_cast<std::int32_t>(kLeastTokens),
                        static_cast<std::int32_t>(std::bit_ceil(static_cast<std::uint32_t>(max_tokens))));
}

}  // namespace condensed::kernels::cuda
