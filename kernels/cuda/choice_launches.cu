#include "kernels/cuda/choose_token.cuh"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

Command choose_command(std::int64_t rows, const ChooseArguments& arguments) {
  return kernel_command(&choose_token,
                        {.grid = {static_cast<std::uint32_t>(rows), 1, 1},
                         .block = kChoiceThreads,
                         .shared_bytes = sizeof(ChoiceSums)},
                        arguments);
}

}  // namespace condensed::kernels::cuda
