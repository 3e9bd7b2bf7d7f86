#include <array>
#include <dlfcn.h>
#include <string>

#include <cublas_v2.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/checked.h"
#include "kernels/cuda/device_error.h"
#include "kernels/cuda/device_memory.h"

namespace condensed::kernels::cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what NVIDIA recommends for Hopper
constexpr std::string_view kRemedy =
    "install the CUDA libraries of the version condensed was built with (libcublas), or use the CPU";

struct LibraryClose {
  void operator()(void* library) const noexcept { ::dlclose(library); }
};
using Library = std::unique_ptr<void, LibraryClose>;

/// Where the linker looks, and where the toolkit is installed.
Library open_library() {
  const std::string name = "libcublas.so." + std::to_string(CUBLAS_VER_MAJOR);
  std::string tried;
  for (const std::string& folder : {std::string(), std::string("/usr/local/cuda/lib64/")}) {
    if (Library library{::dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL)}) {
      return library;
    }
    const char* reason = ::dlerror();
    tried += (tried.empty() ? "" : ", ") + std::string(reason == nullptr ? name : reason);
  }
  throw DeviceError("loading cuBLAS", tried, kRemedy);
}

template <typename Function>
void find(void* library, const char* name, Function*& out) {
  out = reinterpret_cast<Function*>(::dlsym(library, name));
  if (out == nullptr) {
    throw DeviceError("loading cuBLAS", std::string("it has no ") + name, kRemedy);
  }
}

/// The functions of the library that are called.
struct Functions {
  explicit Functions(void* library) {
    find(library, "cublasCreate_v2", create);
    find(library, "cublasDestroy_v2", destroy);
    find(library, "cublasSetStream_v2", set_stream);
    find(library, "cublasSetWorkspace_v2", set_workspace);
    find(library, "cublasSetMathMode", set_math_mode);
    find(library, "cublasGemmEx", gemm_ex);
    find(library, "cublasGetStatusString", status_string);
  }

  decltype(cublasCreate_v2)* create = nullptr;
  decltype(cublasDestroy_v2)* destroy = nullptr;
  decltype(cublasSetStream_v2)* set_stream = nullptr;
  decltype(cublasSetWorkspace_v2)* set_workspace = nullptr;
  decltype(cublasSetMathMode)* set_math_mode = nullptr;
  cublasStatus_t (*gemm_ex)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                            const void*, cudaDataType, int, const void*, cudaDataType, int, const void*,
                            void*, cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t) = nullptr;
  decltype(cublasGetStatusString)* status_string = nullptr;
};

class Cublas final : public Blas {
 public:
  Cublas() : library_(open_library()), call_(library_.get()), workspace_(allocate_device(kWorkspaceBytes)) {
    if (!workspace_) {
      throw DeviceError("cudaMalloc", "no room for cuBLAS' workspace of 32 MiB",
                        "end what else uses the device");
    }
    checked(call_.create(&handle_), "cublasCreate");
    // Half-precision sums inside a product would lose what the activations were rounded for.
    checked(call_.set_math_mode(handle_,
                                static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                                          CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
            "cublasSetMathMode");
  }
  ~Cublas() override {
    if (handle_ != nullptr) {
      call_.destroy(handle_);
    }
  }

  void multiply(const Gemm& gemm, cudaStream_t stream) override {
    // The library's own workspace must not be allocated while a graph is captured; setting a stream resets
    // it.
    checked(call_.set_stream(handle_, stream), "cublasSetStream");
    checked(call_.set_workspace(handle_, workspace_.get(), kWorkspaceBytes), "cublasSetWorkspace");
    const float one = 1;
    const float zero = 0;
    const cudaDataType type = gemm.bf16 != 0 ? CUDA_R_16BF : CUDA_R_16F;
    // The library's matrices are stored by columns: its product is [outputs, rows].
    checked(call_.gemm_ex(handle_, CUBLAS_OP_T, CUBLAS_OP_N, gemm.outputs, gemm.rows, gemm.depth, &one,
                          gemm.weights, type, gemm.depth, gemm.x, type, gemm.depth, &zero, gemm.out,
                          CUDA_R_32F, gemm.outputs, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "cublasGemmEx");
  }

 private:
  void checked(cublasStatus_t status, std::string_view call) const {
    if (status != CUBLAS_STATUS_SUCCESS) {
      throw DeviceError(call, call_.status_string(status), "see the system's log for messages of the driver");
    }
  }

  Library library_;
  Functions call_;
  DeviceMemory workspace_;
  cublasHandle_t handle_ = nullptr;
};

}  // namespace

std::unique_ptr<Blas> load_cublas() {
  return std::make_unique<Cublas>();
}

}  // namespace condensed::kernels::cuda
