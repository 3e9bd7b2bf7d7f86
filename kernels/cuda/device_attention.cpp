#include "kernels/cuda/device_attention.h"

#include <algorithm>
#include <cassert>
#include <string>

#include "kernels/cuda/capacities.h"
#include "kernels/cuda/device_error.h"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

namespace {

// Outside a step rows are worked off in pieces: what items may take of scratch memory, and segments of a
// piece of parameters. A row that alone takes more is a piece.
constexpr std::int64_t kMostSumsBytes = std::int64_t{64} << 20;
constexpr std::int64_t kMostSegmentBytes = std::int64_t{Parameters::kPieceBytes} / 2;

/// The most items, and the most segments, that a row has.
struct LongestRow {
  std::int64_t items = 1;
  std::int64_t segments = 1;
};
LongestRow longest_row(const AttentionShape& shape, std::span<const KvRun> runs,
                       std::span<const std::int32_t> run_begin) {
  LongestRow longest;
  for (std::size_t r = 0; r + 1 < run_begin.size(); ++r) {
    std::int64_t n_tokens = 0;
    for (std::int32_t i = run_begin[r]; i < run_begin[r + 1]; ++i) {
      n_tokens += runs[static_cast<std::size_t>(i)].n_tokens;
    }
    const std::int64_t chunk = chunk_tokens(n_tokens, shape.n_kv_heads);
    const std::int64_t n_items = std::max<std::int64_t>(1, (n_tokens + chunk - 1) / chunk);
    longest.items = std::max(longest.items, n_items);
    // Every run begins a segment, and so does every item but the first.
    longest.segments = std::max(longest.segments, run_begin[r + 1] - run_begin[r] + n_items);
  }
  return longest;
}

/// How many rows to work off at once.
std::int64_t rows_at_once(const AttentionShape& shape, std::span<const KvRun> runs,
                          std::span<const std::int32_t> run_begin) {
  const LongestRow longest = longest_row(shape, runs, run_begin);
  const std::int64_t item_bytes =
      std::int64_t{shape.n_heads} * (shape.head_dim + 2) * std::int64_t{sizeof(float)};
  return std::max<std::int64_t>(
      1, std::min(kMostSumsBytes / (item_bytes * longest.items),
                  kMostSegmentBytes / (std::int64_t{sizeof(Segment)} * longest.segments)));
}

}  // namespace

const DeviceAttention::Placed& DeviceAttention::placed(const AttentionShape& shape,
                                                       std::span<const KvRun> runs,
                                                       std::span<const std::int32_t> run_begin) {
  if (generation_ == queue_.generation() && shape == shape_ && std::ranges::equal(run_begin, run_begin_) &&
      std::ranges::equal(runs, runs_)) {
    return placed_;
  }
  plan_.make(shape, runs, run_begin);
  // By the longest row, so that a step's layout follows from its bucket once windows are full; where a ring's
  // seam stands changes the number of segments all the time.
  constexpr std::int64_t kSegmentStep = 16;
  const auto rows = static_cast<std::int64_t>(run_begin.size()) - 1;
  const std::int64_t grid_rows = queue_.grid_rows(rows);
  const std::int64_t item_capacity =
      queue_.in_step() ? grid_rows * rounded_capacity(plan_.max_items) : std::ssize(plan_.items);
  const std::int64_t segment_capacity =
      queue_.in_step() ? grid_rows * ((plan_.max_segments + kSegmentStep) / kSegmentStep * kSegmentStep)
                       : std::ssize(plan_.segments);
  queue_.make_room({item_capacity * std::int64_t{sizeof(AttentionItem)},
                    segment_capacity * std::int64_t{sizeof(Segment)},
                    (grid_rows + 1) * std::int64_t{sizeof(std::int32_t)}});
  placed_ = {.items = queue_.place<AttentionItem>(plan_.items, item_capacity),
             .segments = queue_.place<Segment>(plan_.segments, segment_capacity),
             .item_begin = queue_.place<std::int32_t>(plan_.item_begin, grid_rows + 1),
             .n_items = std::ssize(plan_.items),
             .item_capacity = item_capacity,
             .max_tokens = plan_.max_tokens};
  generation_ = queue_.generation();
  shape_ = shape;
  runs_.assign(runs.begin(), runs.end());
  run_begin_.assign(run_begin.begin(), run_begin.end());
  return placed_;
}

void DeviceAttention::attend(const AttentionShape& shape, std::span<const float> queries_stream,
                             std::span<const float> queries_sink, std::span<const KvRun> runs,
                             std::span<const std::int32_t> run_begin, std::span<float> out) {
  if (shape.head_dim > kMaxAttentionHeadDim) {
    throw DeviceError("attention", "heads of " + std::to_string(shape.head_dim) + " numbers",
                      "use the CPU: on the device heads have at most 256");
  }
  const auto rows = static_cast<std::int64_t>(run_begin.size()) - 1;
  const std::int64_t row_size = std::int64_t{shape.n_heads} * shape.head_dim;
  assert(static_cast<std::int64_t>(out.size()) == rows * row_size);
  const std::int64_t at_once =
      queue_.in_step() ? std::max<std::int64_t>(1, rows) : rows_at_once(shape, runs, run_begin);
  for (std::int64_t first = 0; first < rows; first += at_once) {
    const std::int64_t n = std::min(at_once, rows - first);
    const Placed& plan = placed(
        shape, runs, run_begin.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n) + 1));
    auto* sums = sums_.reserve<float>(queue_, plan.item_capacity * row_size);
    auto* shares = shares_.reserve<float>(queue_, plan.item_capacity * 2 * shape.n_heads);
    // A group of heads has at most as many blocks as it has heads.
    auto* arrived = arrived_.reserve_zeros<unsigned>(queue_, queue_.grid_rows(n) * shape.n_heads);
    queue_.issue(
        attend_command(plan.item_capacity, {.queries_stream = queries_stream.data() + first * row_size,
                                            .queries_sink = queries_sink.data() + first * row_size,
                                            .items = plan.items,
                                            .segments = plan.segments,
                                            .item_begin = plan.item_begin,
                                            .out = out.data() + first * row_size,
                                            .arrived = arrived,
                                            .sums = sums,
                                            .shares = shares,
                                            .count = queue_.count(plan.n_items),
                                            .n_heads = shape.n_heads,
                                            .n_kv_heads = shape.n_kv_heads,
                                            .head_dim = shape.head_dim,
                                            .max_tokens = plan.max_tokens}));
  }
}

}  // namespace condensed::kernels::cuda
