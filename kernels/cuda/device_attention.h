#pragma once

#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/device_queue.h"

namespace condensed::kernels::cuda {

/// Backend::attend on the device.
class DeviceAttention {
 public:
  explicit DeviceAttention(DeviceQueue& queue) : queue_(queue) {}

  void attend(const AttentionShape& shape, std::span<const float> queries_stream,
              std::span<const float> queries_sink, std::span<const KvRun> runs,
              std::span<const std::int32_t> run_begin, std::span<float> out);

 private:
  /// A plan on the device.
  struct Placed {
    const AttentionItem* items = nullptr;
    const Segment* segments = nullptr;
    const std::int32_t* item_begin = nullptr;
    std::int64_t n_items = 0;
    std::int64_t item_capacity = 0;
    std::int32_t max_tokens = 0;
  };

  /// Layers that see the same share the plan of the first.
  const Placed& placed(const AttentionShape& shape, std::span<const KvRun> runs,
                       std::span<const std::int32_t> run_begin);

  DeviceQueue& queue_;
  AttentionPlan plan_;
  Placed placed_;
  // What placed_ was made from, and when.
  std::vector<KvRun> runs_;
  std::vector<std::int32_t> run_begin_;
  AttentionShape shape_;
  std::int64_t generation_ = -1;
  Scratch sums_;
  Scratch shares_;
  Scratch arrived_;
};

}  // namespace condensed::kernels::cuda
