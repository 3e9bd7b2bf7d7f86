#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

static_assert(kMaxHeadDim == kMaxAttentionHeadDim);

namespace {

template <int kHeads>
Command attend_by(std::int64_t items, const AttendArguments& arguments) {
  const int group = arguments.n_heads / arguments.n_kv_heads;
  const Layout layout{
      .grid = {static_cast<std::uint32_t>(items), static_cast<std::uint32_t>(arguments.n_kv_heads),
               static_cast<std::uint32_t>((group + kHeads - 1) / kHeads)},
      .block = kAttendThreads,
      .shared_bytes = attend_shared_bytes(kHeads, arguments.max_tokens, arguments.head_dim)};
  return kernel_command(&attend<kHeads>, layout, arguments);
}

}  // namespace

Command attend_command(std::int64_t items, const AttendArguments& arguments) {
  const int group = arguments.n_heads / arguments.n_kv_heads;
  if (group == 1) {
    return attend_by<1>(items, arguments);
  }
  return group <= 4 ? attend_by<4>(items, arguments) : attend_by<8>(items, arguments);
}

}  // namespace condensed::kernels::cuda
