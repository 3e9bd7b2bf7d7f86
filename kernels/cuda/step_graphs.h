#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>
#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/cuda/command.h"

namespace condensed::kernels::cuda {

/// Captured steps. A graph holds the values its commands were issued with, so it is launched again only for
/// commands that are equal to these in every byte; others are captured anew. Commands that come for the first
/// time run one by one: many never come again, and libraries may load what they need, which a capture
/// forbids. So do those whose capture failed, ever after. What has not run for longest is forgotten.
class StepGraphs {
 public:
  static constexpr std::size_t kMost = 48;

  /// Runs the commands in the target's stream. issued: becomes true once the device has any of them. Throws
  /// DeviceError.
  void run(const std::vector<Command>& commands, const Target& target, bool& issued);

  std::size_t size() const { return graphs_.size(); }
  /// Forgets all: what their commands point to is about to move.
  void clear() { graphs_.clear(); }

 private:
  struct ExecDestroy {
    void operator()(cudaGraphExec_t graph) const noexcept;
  };
  using Exec = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, ExecDestroy>;
  struct Graph {
    std::vector<Command> commands;
    Exec exec;               // null: they have run once, or cannot be captured
    bool capturable = true;  // as far as is known
    std::int64_t last_run = 0;
  };

  static Exec capture(const std::vector<Command>& commands, const Target& target);
  Graph* find(const std::vector<Command>& commands);
  void try_capture(Graph& graph, const Target& target);
  void remember(const std::vector<Command>& commands);

  std::vector<Graph> graphs_;
  std::int64_t n_runs_ = 0;
  bool warned_ = false;
};

}  // namespace condensed::kernels::cuda
