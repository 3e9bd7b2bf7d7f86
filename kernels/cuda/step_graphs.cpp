#include "kernels/cuda/step_graphs.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "kernels/cuda/checked.h"
#include "kernels/cuda/device_error.h"

namespace condensed::kernels::cuda {

namespace {

struct GraphDestroy {
  void operator()(cudaGraph_t graph) const noexcept { static_cast<void>(cudaGraphDestroy(graph)); }
};
using CapturedGraph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, GraphDestroy>;

/// Ends the capture also where a command could not be issued: the stream would be of no use any more.
CapturedGraph end_capture(cudaStream_t stream, cudaError_t& result) {
  cudaGraph_t graph = nullptr;
  result = cudaStreamEndCapture(stream, &graph);
  return CapturedGraph(graph);
}

}  // namespace

void StepGraphs::ExecDestroy::operator()(cudaGraphExec_t graph) const noexcept {
  static_cast<void>(cudaGraphExecDestroy(graph));
}

StepGraphs::Exec StepGraphs::capture(const std::vector<Command>& commands, const Target& target) {
  // Of this thread only: others may allocate meanwhile.
  check(cudaStreamBeginCapture(target.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaError_t result = cudaSuccess;
  try {
    for (const Command& command : commands) {
      command.issue(command, target);
    }
  } catch (...) {
    end_capture(target.stream, result);
    throw;
  }
  const CapturedGraph graph = end_capture(target.stream, result);
  check(result, "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph.get(), 0), "cudaGraphInstantiate");
  return Exec(exec);
}

StepGraphs::Graph* StepGraphs::find(const std::vector<Command>& commands) {
  const auto known =
      std::ranges::find_if(graphs_, [&](const Graph& graph) { return graph.commands == commands; });
  return known == graphs_.end() ? nullptr : &*known;
}

void StepGraphs::remember(const std::vector<Command>& commands) {
  Graph fresh{.commands = commands, .last_run = n_runs_};
  if (graphs_.size() < kMost) {
    graphs_.push_back(std::move(fresh));
  } else {
    *std::ranges::min_element(graphs_, {}, &Graph::last_run) = std::move(fresh);
  }
}

/// What cannot be captured still runs command by command, if slower: it is not tried again.
void StepGraphs::try_capture(Graph& graph, const Target& target) {
  try {
    graph.exec = capture(graph.commands, target);
  } catch (const DeviceError& error) {
    graph.capturable = false;
    if (!std::exchange(warned_, true)) {
      std::clog << "warning: a step cannot be captured and runs command by command: " << error.what()
                << std::endl;
    }
  }
}

void StepGraphs::run(const std::vector<Command>& commands, const Target& target, bool& issued) {
  ++n_runs_;
  Graph* graph = find(commands);
  if (graph != nullptr) {
    graph->last_run = n_runs_;
    if (!graph->exec && graph->capturable) {
      try_capture(*graph, target);
    }
    if (graph->exec) {
      check(cudaGraphLaunch(graph->exec.get(), target.stream), "cudaGraphLaunch");
      issued = true;
      return;
    }
  }
  for (const Command& command : commands) {
    command.issue(command, target);
    issued = true;
  }
  if (graph == nullptr) {
    remember(commands);
  }
}

}  // namespace condensed::kernels::cuda
