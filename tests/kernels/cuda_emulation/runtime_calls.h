#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/cuda_emulation/block_runner.h"

/// The calls of CUDA's runtime library that our host code uses.

// NOLINTBEGIN(readability-identifier-naming): the names are CUDA's.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorSystemDriverMismatch = 803,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
};
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();

struct EmulatedStream;
struct EmulatedGraph;
using cudaStream_t = EmulatedStream*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal = 0, cudaStreamCaptureModeThreadLocal = 1 };
constexpr unsigned cudaStreamNonBlocking = 1;

struct cudaDeviceProp {
  char name[256] = "emulated device";
  std::size_t totalGlobalMem = 0;
  int major = 9;
  int minor = 0;
  int multiProcessorCount = 2;
};

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes);
cudaError_t cudaMalloc(void** data, std::size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaMallocHost(void** data, std::size_t bytes);
cudaError_t cudaFreeHost(void* data);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);

enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75 };
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed;
  } val;
};

struct cudaLaunchConfig_t {
  condensed::emulation::Dim3 gridDim;
  condensed::emulation::Dim3 blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace condensed::emulation {

/// Runs `work` in the stream's turn: now, or with every launch of the graph that is being captured.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
/// A kernel. One of a graph that overlaps begins, with one of its blocks, before those before it have run; it
/// is an error of the stream if the one before is no kernel.
cudaError_t enqueue(cudaStream_t stream, Launch launch);

/// The next call of that name fails with that error, after `n_before` that succeed.
void fail_call(const std::string& name, cudaError_t error, int n_before = 0);

/// What has been called since the process began.
struct Counts {
  long kernels = 0;
  long overlapping = 0;  // of these, such as need not wait for the one before
  long captures = 0;
  long graph_launches = 0;
  long synchronisations = 0;
  long frees_while_busy = 0;      // of the device's memory, nobody having waited for what was given out
  long devices_made_current = 0;  // which makes a context on them
};
const Counts& counts();

/// What the device seems to have; its memory is protected from the host if asked for before the first
/// cudaMalloc: a touch outside kernels and copies is a fault.
void set_memory_bytes(std::size_t bytes);
void protect_device_memory();
void set_driver_version(int version);
void set_compute_capability(int major);
/// Which PTX version its kernels seem to be compiled from.
void set_ptx_version(int version);
int ptx_version();
void set_devices(int count);
/// What is allocated there: on the device that is current for the thread that asks. Work goes to a stream of
/// that device only.
std::size_t bytes_on(int device);

}  // namespace condensed::emulation

struct cudaFuncAttributes {
  int ptxVersion;
};
template <typename Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel* /*kernel*/) {
  attributes->ptxVersion = condensed::emulation::ptx_version();
  return cudaSuccess;
}

template <typename... Expected, typename... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Actual&&... arguments) {
  if (config->dynamicSmemBytes > 48 * 1024 || config->gridDim.y > 65535 || config->gridDim.z > 65535 ||
      config->gridDim.x == 0 || config->gridDim.y == 0 || config->gridDim.z == 0 ||
      config->blockDim.x * config->blockDim.y * config->blockDim.z > 1024) {
    return cudaErrorInvalidValue;
  }
  const bool overlaps = config->numAttrs == 1 &&
                        config->attrs[0].id == cudaLaunchAttributeProgrammaticStreamSerialization &&
                        config->attrs[0].val.programmaticStreamSerializationAllowed == 1;
  // By value, as the device's queue takes them: what they point to may change until it runs, they may not.
  return condensed::emulation::enqueue(
      config->stream, condensed::emulation::Launch{.grid = config->gridDim,
                                                   .block = config->blockDim,
                                                   .shared_bytes = config->dynamicSmemBytes,
                                                   .kernel = [kernel, arguments...] { kernel(arguments...); },
                                                   .overlaps = overlaps});
}

// NOLINTEND(readability-identifier-naming)
