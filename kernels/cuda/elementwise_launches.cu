#include <algorithm>

#include "kernels/cuda/checked.h"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

namespace {

constexpr std::int64_t kMostElementBlocks = 264;  // enough to keep a device busy

std::uint32_t blocks_for(std::int64_t n, std::int64_t per_block) {
  return static_cast<std::uint32_t>((n + per_block - 1) / per_block);
}

Layout rows_of(std::int64_t rows, std::size_t shared_number_bytes) {
  return {.grid = {static_cast<std::uint32_t>(rows), 1, 1},
          .block = kRowThreads,
          .shared_bytes = kRowThreads / kWarp * shared_number_bytes};
}

/// Rows are the grid's x: there may be more of them than the other two hold, 65,535.
Layout rows_by(std::int64_t rows, std::int64_t width, std::int64_t per_block = kRowThreads) {
  return {.grid = {static_cast<std::uint32_t>(rows), blocks_for(width, per_block), 1}, .block = kRowThreads};
}

Layout elements_of(std::int64_t n) {
  return {
      .grid = {std::max(1U, blocks_for(std::min(n, kMostElementBlocks * kRowThreads), kRowThreads)), 1, 1},
      .block = kRowThreads};
}

}  // namespace

Command rms_norm_command(std::int64_t rows, const RmsNormArguments& arguments) {
  return kernel_command(&rms_norm, rows_of(rows, sizeof(double)), arguments);
}

Command rotate_command(std::int64_t rows, const RotateArguments& arguments) {
  return kernel_command(&rotate, rows_by(rows, arguments.row_size / 2), arguments);
}

Command embed_command(std::int64_t rows, const EmbedArguments& arguments) {
  return kernel_command(&embed, rows_by(rows, arguments.table.cols), arguments);
}

Command store_kv_command(std::int64_t rows, const StoreKvArguments& arguments) {
  return kernel_command(&store_kv, rows_by(rows, arguments.n_kv_heads, kRowThreads / kWarp), arguments);
}

Command gate_command(std::int64_t elements, const GateArguments& arguments) {
  return kernel_command(&gate_products, elements_of(elements), arguments);
}
Command copy_command(std::int64_t elements, const CopyArguments& arguments) {
  return kernel_command(&copy_words, elements_of(elements), arguments);
}
Command fill_zero_command(std::int64_t elements, const FillZeroArguments& arguments) {
  return kernel_command(&fill_zero, elements_of(elements), arguments);
}
Command difference_command(std::int64_t elements, const DifferenceArguments& arguments) {
  return kernel_command(&largest_difference, elements_of(elements), arguments);
}

bool kernels_await_previous() {
  constexpr int kFirstThatWaits = 90;
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, fill_zero), "cudaFuncGetAttributes");
  return attributes.ptxVersion >= kFirstThatWaits;
}

}  // namespace condensed::kernels::cuda
