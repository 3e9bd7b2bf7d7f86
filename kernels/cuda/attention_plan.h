#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/kernel_arguments.h"

namespace condensed::kernels::cuda {

/// How many tokens of a row one block reads: enough blocks for one row to fill the device, and none so short
/// that putting the items together costs as much as reading them. Depends on the row alone.
std::int32_t chunk_tokens(std::int64_t n_tokens, int n_kv_heads);

/// The rows' tokens, cut into items. A row without tokens has one, which has none either.
struct AttentionPlan {
  std::vector<AttentionItem> items;
  std::vector<Segment> segments;
  std::vector<std::int32_t> item_begin;  // [rows + 1]
  std::int32_t max_tokens = 0;           // of an item, rounded up to a power of two
  std::int32_t max_items = 0;            // of a row
  std::int32_t max_segments = 0;         // of a row

  /// As Backend::attend takes them.
  void make(const AttentionShape& shape, std::span<const KvRun> runs,
            std::span<const std::int32_t> run_begin);

 private:
  void add_row(const AttentionShape& shape, std::int32_t row, std::span<const KvRun> runs);
};

}  // namespace condensed::kernels::cuda
