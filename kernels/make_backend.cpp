#include "kernels/make_backend.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>

#include "kernels/device_choice.h"
#include "kernels/reference/reference_backend.h"

#ifdef CONDENSED_CUDA
#include "kernels/cuda/cuda_backend.h"
#endif
#ifdef CONDENSED_X86
#include "kernels/cpu/cpu_backend.h"
#endif

namespace condensed::kernels {

namespace {

bool runs_avx2() {
#ifdef CONDENSED_X86
  // Every processor that has AVX2 has F16C, which not every compiler can ask for.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool runs_avx512() {
#ifdef CONDENSED_X86
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

bool runs_avx512vnni() {
#ifdef CONDENSED_X86
  return runs_avx512() && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

struct VectorKind {
  std::string_view name;
  std::string_view needs;
  bool (*runs)();
};
// The best first.
constexpr VectorKind kVectorKinds[] = {{"avx512vnni", "AVX-512 F, DQ, BW, VL and VNNI", runs_avx512vnni},
                                       {"avx512", "AVX-512 F, DQ, BW and VL", runs_avx512},
                                       {"avx2", "AVX2, FMA and F16C", runs_avx2}};

std::unique_ptr<Backend> make_cpu_backend([[maybe_unused]] std::string_view kind,
                                          [[maybe_unused]] int n_threads) {
#ifdef CONDENSED_X86
  const SimdKernels& simd = kind == "avx512vnni" ? avx512vnni::simd_kernels()
                            : kind == "avx512"   ? avx512::simd_kernels()
                                                 : avx2::simd_kernels();
  return std::make_unique<CpuBackend>(simd, n_threads);
#else
  return nullptr;
#endif
}

std::unique_ptr<Backend> make_device_backend([[maybe_unused]] const CudaDevice& device) {
#ifdef CONDENSED_CUDA
  return make_cuda_backend(device.index);
#else
  return nullptr;
#endif
}

}  // namespace

std::unique_ptr<Backend> make_backend(std::string_view kind, int n_threads) {
  if (n_threads < 0) {
    throw std::invalid_argument("number of threads is " + std::to_string(n_threads) +
                                ": expected 0 (one per processor) or more");
  }
  if (const auto setting = parse_device(kind); setting && setting->cuda && !setting->may_fall_back) {
    return make_device_backend(*choose_device(*setting, survey_cuda()).device);
  }
  if (kind == "auto") {
    const auto* best =
        std::ranges::find_if(kVectorKinds, [](const VectorKind& vector) { return vector.runs(); });
    kind = best == std::end(kVectorKinds) ? "reference" : best->name;
  }
  if (kind == "reference") {
    return std::make_unique<ReferenceBackend>();
  }
  const auto* chosen = std::ranges::find(kVectorKinds, kind, &VectorKind::name);
  if (chosen == std::end(kVectorKinds)) {
    throw std::invalid_argument(
        "unknown backend \"" + std::string(kind) +
        "\": expected \"auto\", \"avx512vnni\", \"avx512\", \"avx2\", \"reference\", \"cuda\" or \"cuda:N\"");
  }
  if (!chosen->runs()) {
    throw std::invalid_argument("backend \"" + std::string(kind) + "\" needs a processor with " +
                                std::string(chosen->needs) +
                                ", which this one lacks; use \"auto\" or \"reference\"");
  }
  return make_cpu_backend(kind, n_threads);
}

}  // namespace condensed::kernels
