#include "tests/kernels/cuda_emulation/runtime_calls.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <variant>

#include <sys/mman.h>

struct EmulatedGraph {
  using Node = std::variant<std::function<void()>, condensed::emulation::Launch>;
  std::vector<Node> nodes;
};

struct EmulatedStream {
  int device = 0;
  bool after_kernel = false;
  EmulatedGraph* capturing = nullptr;
};

namespace {

using condensed::emulation::Counts;

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kProtectedBytes = std::size_t{1} << 30;

struct PlannedFailure {
  cudaError_t error = cudaSuccess;
  int n_before = 0;
};

struct Machine {
  Counts counts;
  std::map<std::string, PlannedFailure> failures;
  struct Block {
    std::size_t bytes = 0;
    int device = 0;
  };
  std::map<void*, Block> blocks;
  std::size_t memory_bytes = std::size_t{1} << 32;
  std::size_t used_bytes = 0;
  int driver_version = 13000;
  int compute_capability = 9;
  int ptx_version = 90;
  int n_devices = 1;
  std::byte* protected_memory = nullptr;
  std::size_t protected_used = 0;
  std::multimap<std::size_t, void*> given_back;  // of it
  bool open = true;
  bool busy = false;  // since somebody waited, work was given out
};

thread_local int current_device = 0;

Machine& machine() {
  static Machine machine;
  return machine;
}

cudaError_t outcome(const char* call) {
  const auto planned = machine().failures.find(call);
  if (planned == machine().failures.end()) {
    return cudaSuccess;
  }
  if (planned->second.n_before-- > 0) {
    return cudaSuccess;
  }
  const cudaError_t error = planned->second.error;
  machine().failures.erase(planned);
  return error;
}

void open_memory(bool open) {
  Machine& self = machine();
  if (std::byte* memory = self.protected_memory; memory != nullptr && self.open != open) {
    self.open = open;
    ::mprotect(memory, machine().protected_used, open ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
}

using condensed::emulation::Launch;
using condensed::emulation::LaunchRun;
using Node = EmulatedGraph::Node;

void run_node(const Node& node) {
  if (const auto* launch = std::get_if<Launch>(&node)) {
    LaunchRun(*launch).end();
  } else {
    std::get<std::function<void()>>(node)();
  }
}

bool overlaps(const Node& node) {
  const auto* launch = std::get_if<Launch>(&node);
  return launch != nullptr && launch->overlaps;
}

/// One after another; those that overlap begin up to three before their turn.
void run_nodes(const std::vector<Node>& nodes) {
  static std::mt19937 random(2);
  std::vector<std::unique_ptr<LaunchRun>> runs(nodes.size());
  std::size_t n_begun = 1;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::size_t end = std::min(nodes.size(), i + 1 + random() % 4);
    for (n_begun = std::max(n_begun, i + 1); n_begun < end && overlaps(nodes[n_begun]); ++n_begun) {
      runs[n_begun] = std::make_unique<LaunchRun>(std::get<Launch>(nodes[n_begun]));
      runs[n_begun]->begin();
    }
    if (runs[i]) {
      runs[i]->end();
      runs[i].reset();
    } else {
      run_node(nodes[i]);
    }
  }
}

/// The device's memory then stays open until somebody waits: to close it takes longer than most kernels.
template <typename Work>
void run(const Work& work) {
  open_memory(true);
  work();
}

void* take(std::size_t bytes) {
  Machine& self = machine();
  if (self.protected_memory == nullptr) {
    // To the byte, so that an address sanitizer sees the end.
    void* data = nullptr;
    return ::posix_memalign(&data, kAlignment, bytes) == 0 ? data : nullptr;
  }
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (const auto again = self.given_back.find(rounded); again != self.given_back.end()) {
    void* data = again->second;
    self.given_back.erase(again);
    return data;
  }
  open_memory(false);  // what is new is closed
  if (self.protected_used + rounded > kProtectedBytes) {
    return nullptr;
  }
  return self.protected_memory + std::exchange(self.protected_used, self.protected_used + rounded);
}

}  // namespace

namespace condensed::emulation {

namespace {

cudaError_t enqueue_node(cudaStream_t stream, Node node) {
  if (const cudaError_t error = outcome("cudaLaunchKernelEx"); error != cudaSuccess) {
    return error;
  }
  if (stream->device != current_device) {
    return cudaErrorInvalidResourceHandle;
  }
  ++machine().counts.kernels;
  machine().busy = true;
  stream->after_kernel = std::holds_alternative<Launch>(node);
  if (stream->capturing != nullptr) {
    stream->capturing->nodes.push_back(std::move(node));
  } else {
    run([&] { run_node(node); });
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  return enqueue_node(stream, std::move(work));
}

cudaError_t enqueue(cudaStream_t stream, Launch launch) {
  if (launch.overlaps && (!stream->after_kernel || machine().compute_capability < 9)) {
    return cudaErrorInvalidValue;
  }
  machine().counts.overlapping += launch.overlaps ? 1 : 0;
  return enqueue_node(stream, std::move(launch));
}

void fail_call(const std::string& name, cudaError_t error, int n_before) {
  machine().failures[name] = {error, n_before};
}
const Counts& counts() {
  return machine().counts;
}
void set_memory_bytes(std::size_t bytes) {
  machine().memory_bytes = bytes;
}
void protect_device_memory() {
  if (machine().protected_memory == nullptr) {
    void* memory = ::mmap(nullptr, kProtectedBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    machine().protected_memory = memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
  }
}
void set_driver_version(int version) {
  machine().driver_version = version;
}
void set_compute_capability(int major) {
  machine().compute_capability = major;
}
void set_ptx_version(int version) {
  machine().ptx_version = version;
}
int ptx_version() {
  return machine().ptx_version;
}
void set_devices(int count) {
  machine().n_devices = count;
}
std::size_t bytes_on(int device) {
  std::size_t bytes = 0;
  for (const auto& [data, block] : machine().blocks) {
    bytes += block.device == device ? block.bytes : 0;
  }
  return bytes;
}

}  // namespace condensed::emulation

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
         : error == cudaErrorLaunchFailure  ? "cudaErrorLaunchFailure"
                                            : "cudaError";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory"
         : error == cudaErrorLaunchFailure  ? "unspecified launch failure"
                                            : "some error";
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = machine().driver_version;
  return outcome("cudaDriverGetVersion");
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return outcome("cudaRuntimeGetVersion");
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine().n_devices;
  return outcome("cudaGetDeviceCount");
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int /*device*/) {
  *properties = {};
  properties->totalGlobalMem = machine().memory_bytes;
  return outcome("cudaGetDeviceProperties");
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr /*attribute*/, int /*device*/) {
  *value = machine().compute_capability;
  return outcome("cudaDeviceGetAttribute");
}
cudaError_t cudaSetDevice(int device) {
  if (device >= machine().n_devices) {
    return cudaErrorInvalidDevice;
  }
  current_device = device;
  ++machine().counts.devices_made_current;
  return outcome("cudaSetDevice");
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = machine().memory_bytes;
  *free_bytes = machine().memory_bytes - machine().used_bytes;
  return outcome("cudaMemGetInfo");
}
cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (const cudaError_t error = outcome("cudaMalloc"); error != cudaSuccess) {
    return error;
  }
  Machine& self = machine();
  if (self.used_bytes + bytes > self.memory_bytes) {
    return cudaErrorMemoryAllocation;
  }
  *data = take(bytes);
  if (*data == nullptr) {
    return cudaErrorMemoryAllocation;
  }
  run([&] { std::memset(*data, 0xff, bytes); });
  self.blocks[*data] = {bytes, current_device};
  self.used_bytes += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  Machine& self = machine();
  const auto block = self.blocks.find(data);
  if (block == self.blocks.end()) {
    return cudaErrorInvalidValue;
  }
  self.counts.frees_while_busy += self.busy ? 1 : 0;
  self.used_bytes -= block->second.bytes;
  if (self.protected_memory == nullptr) {
    std::free(data);
  } else {
    self.given_back.emplace((block->second.bytes + kAlignment - 1) / kAlignment * kAlignment, data);
  }
  self.blocks.erase(block);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  *data = std::malloc(bytes);
  return outcome("cudaMallocHost");
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind /*kind*/,
                            cudaStream_t stream) {
  if (const cudaError_t error = outcome("cudaMemcpyAsync"); error != cudaSuccess) {
    return error;
  }
  return condensed::emulation::enqueue(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return condensed::emulation::enqueue(stream, [=] { std::memset(to, value, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned /*flags*/) {
  *stream = new EmulatedStream{.device = current_device};
  return outcome("cudaStreamCreateWithFlags");
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++machine().counts.synchronisations;
  machine().busy = false;
  open_memory(false);
  return stream->capturing != nullptr ? cudaErrorInvalidValue : outcome("cudaStreamSynchronize");
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  ++machine().counts.captures;
  const cudaError_t error = outcome("cudaStreamBeginCapture");
  stream->capturing = error == cudaSuccess ? new EmulatedGraph : nullptr;
  return error;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capturing, nullptr);
  stream->after_kernel = false;
  return outcome("cudaStreamEndCapture");
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long /*flags*/) {
  const cudaError_t error = outcome("cudaGraphInstantiate");
  *exec = error == cudaSuccess ? new EmulatedGraph(*graph) : nullptr;
  return error;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t /*stream*/) {
  if (const cudaError_t error = outcome("cudaGraphLaunch"); error != cudaSuccess) {
    return error;
  }
  ++machine().counts.graph_launches;
  machine().busy = true;
  run([&] { run_nodes(exec->nodes); });
  open_memory(false);
  return cudaSuccess;
}
