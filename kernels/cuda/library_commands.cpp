#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

Command host_copy_command(const HostCopyArguments& arguments) {
  Command command;
  command.issue = [](const Command& self, const Target& target) {
    const auto copy = self.get<HostCopyArguments>();
    check(cudaMemcpyAsync(copy.to, copy.from, copy.bytes, cudaMemcpyHostToDevice, target.stream),
          "cudaMemcpyAsync");
  };
  command.set(arguments);
  return command;
}

Command gemm_command(const Gemm& gemm) {
  Command command;
  command.issue = [](const Command& self, const Target& target) {
    target.blas->multiply(self.get<Gemm>(), target.stream);
  };
  command.set(gemm);
  return command;
}

}  // namespace condensed::kernels::cuda
