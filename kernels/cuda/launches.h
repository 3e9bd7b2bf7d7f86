#pragma once

#include <cstdint>

#include "kernels/cuda/command.h"
#include "kernels/cuda/kernel_arguments.h"

/// The kernels as commands, laid out for `rows` (or elements, or items), of which kernels carry out the first
/// `count` of their arguments.
namespace condensed::kernels::cuda {

constexpr std::int64_t kMostSmallRows = 8;  // products with more are for the library, if it can

Command small_product_command(DType dtype, std::int64_t rows, const SmallProductArguments& arguments);
/// Of matrices of one format; their first_block and row_blocks are filled in.
Command project_command(DType dtype, std::int64_t rows, const ProjectArguments& arguments);
Command activations_command(bool bf16, std::int64_t rows, const ActivationsArguments& arguments);
/// Of a quantised matrix.
Command dequantise_command(DType dtype, std::int64_t rows, const DequantiseArguments& arguments);
Command finish_command(std::int64_t rows, const FinishArguments& arguments);

Command attend_command(std::int64_t items, const AttendArguments& arguments);
constexpr int kMaxAttentionHeadDim = 256;

Command rms_norm_command(std::int64_t rows, const RmsNormArguments& arguments);
Command rotate_command(std::int64_t rows, const RotateArguments& arguments);
Command embed_command(std::int64_t rows, const EmbedArguments& arguments);
Command store_kv_command(std::int64_t rows, const StoreKvArguments& arguments);
Command choose_command(std::int64_t rows, const ChooseArguments& arguments);
// Laid out for that many elements, and right for any number.
Command gate_command(std::int64_t elements, const GateArguments& arguments);
Command copy_command(std::int64_t elements, const CopyArguments& arguments);
Command fill_zero_command(std::int64_t elements, const FillZeroArguments& arguments);
Command difference_command(std::int64_t elements, const DifferenceArguments& arguments);

/// Whether the kernels, as they were compiled for this device, wait for what they follow
/// (device_language.cuh): from PTX of 8.x the driver makes kernels that do not. Throws DeviceError.
bool kernels_await_previous();

/// Copies from pinned memory.
struct HostCopyArguments {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  std::size_t bytes = 0;
};
Command host_copy_command(const HostCopyArguments& arguments);

Command gemm_command(const Gemm& gemm);

}  // namespace condensed::kernels::cuda
