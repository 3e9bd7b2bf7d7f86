#include "kernels/cuda/large_product.cuh"
#include "kernels/cuda/launches.h"
#include "kernels/cuda/small_product.cuh"

namespace condensed::kernels::cuda {

namespace {

std::uint32_t blocks_for(std::int64_t n, std::int64_t per_block) {
  return static_cast<std::uint32_t>((n + per_block - 1) / per_block);
}

/// Of one row, two, four or eight.
int rows_at_once(std::int64_t rows) {
  return rows >= 5 ? 8 : rows >= 3 ? 4 : static_cast<int>(rows);
}

template <DType kType>
Command small_product_of(std::int64_t rows, SmallProductArguments arguments) {
  const int at_once = rows_at_once(rows);
  const int outputs = arguments.epilogue == Epilogue::swiglu ? kProductOutputs / 2 : kProductOutputs;
  arguments.row_blocks = static_cast<std::int32_t>(blocks_for(rows, at_once));
  const Layout layout{.grid = {blocks_for(arguments.a.rows, outputs) * blocks_for(rows, at_once), 1, 1},
                      .block = kProductWarps * kWarp,
                      .shared_bytes = small_product_shared_bytes(kType, at_once)};
  switch (at_once) {
    case 1:
      return kernel_command(&small_product<kType, 1>, layout, arguments);
    case 2:
      return kernel_command(&small_product<kType, 2>, layout, arguments);
    case 4:
      return kernel_command(&small_product<kType, 4>, layout, arguments);
    default:
      return kernel_command(&small_product<kType, 8>, layout, arguments);
  }
}

template <DType kType>
Command project_of(std::int64_t rows, ProjectArguments arguments) {
  const int at_once = rows_at_once(rows);
  std::uint32_t n_blocks = 0;
  for (ProjectedMatrix& matrix : arguments.matrices) {
    if (matrix.out != nullptr) {
      matrix.first_block = n_blocks;
      n_blocks += matrix.rotated != 0 ? blocks_for(matrix.weight.rows / 2, kProductOutputs / 2)
                                      : blocks_for(matrix.weight.rows, kProductOutputs);
    }
  }
  arguments.row_blocks = static_cast<std::int32_t>(blocks_for(rows, at_once));
  const Layout layout{.grid = {n_blocks * blocks_for(rows, at_once), 1, 1},
                      .block = kProductWarps * kWarp,
                      .shared_bytes = small_product_shared_bytes(kType, at_once)};
  switch (at_once) {
    case 1:
      return kernel_command(&project<kType, 1>, layout, arguments);
    case 2:
      return kernel_command(&project<kType, 2>, layout, arguments);
    case 4:
      return kernel_command(&project<kType, 4>, layout, arguments);
    default:
      return kernel_command(&project<kType, 8>, layout, arguments);
  }
}

}  // namespace

Command small_product_command(DType dtype, std::int64_t rows, const SmallProductArguments& arguments) {
  switch (dtype) {
    case DType::f32:
      return small_product_of<DType::f32>(rows, arguments);
    case DType::bf16:
      return small_product_of<DType::bf16>(rows, arguments);
    case DType::f16:
      return small_product_of<DType::f16>(rows, arguments);
    case DType::q8:
      return small_product_of<DType::q8>(rows, arguments);
    default:
      return small_product_of<DType::q4>(rows, arguments);
  }
}

Command project_command(DType dtype, std::int64_t rows, const ProjectArguments& arguments) {
  switch (dtype) {
    case DType::f32:
      return project_of<DType::f32>(rows, arguments);
    case DType::bf16:
      return project_of<DType::bf16>(rows, arguments);
    case DType::f16:
      return project_of<DType::f16>(rows, arguments);
    case DType::q8:
      return project_of<DType::q8>(rows, arguments);
    default:
      return project_of<DType::q4>(rows, arguments);
  }
}

Command activations_command(bool bf16, std::int64_t rows, const ActivationsArguments& arguments) {
  const Layout layout{.grid = {static_cast<std::uint32_t>(rows), 1, 1},
                      .block = kLargeThreads,
                      .shared_bytes = kLargeThreads / kWarp * sizeof(float)};
  return bf16 ? kernel_command(&convert_activations<DType::bf16>, layout, arguments)
              : kernel_command(&convert_activations<DType::f16>, layout, arguments);
}

Command dequantise_command(DType dtype, std::int64_t rows, const DequantiseArguments& arguments) {
  const Layout layout{.grid = {static_cast<std::uint32_t>(rows), 1, 1}, .block = kLargeThreads};
  return dtype == DType::q8 ? kernel_command(&dequantise<DType::q8>, layout, arguments)
                            : kernel_command(&dequantise<DType::q4>, layout, arguments);
}

Command finish_command(std::int64_t rows, const FinishArguments& arguments) {
  const Layout layout{
      .grid = {blocks_for(arguments.n_outputs, kLargeThreads), static_cast<std::uint32_t>(rows), 1},
      .block = kLargeThreads};
  return kernel_command(&finish_product, layout, arguments);
}

}  // namespace condensed::kernels::cuda
