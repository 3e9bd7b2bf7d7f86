#include "kernels/make_backend.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/device_choice.h"
#include "kernels/reference/reference_backend.h"

#ifdef CONDENSED_CUDA
#include "kernels/cuda/cuda_backend.h"
#endif
#ifdef CONDENSED_NEONDOT
#include <sys/auxv.h>
#endif

namespace condensed::kernels {

namespace {

// Null where they are not compiled or this processor cannot run them.

const SimdKernels* avx2_kernels() {
#ifdef CONDENSED_X86
  // Every processor that has AVX2 has F16C, which not every compiler can ask for.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return &avx2::simd_kernels();
  }
#endif
  return nullptr;
}

const SimdKernels* avx512_kernels() {
#ifdef CONDENSED_X86
  if (avx2_kernels() != nullptr && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    return &avx512::simd_kernels();
  }
#endif
  return nullptr;
}

const SimdKernels* avx512vnni_kernels() {
#ifdef CONDENSED_X86
  if (avx512_kernels() != nullptr && __builtin_cpu_supports("avx512vnni")) {
    return &avx512vnni::simd_kernels();
  }
#endif
  return nullptr;
}

const SimdKernels* neon_kernels() {
#ifdef CONDENSED_NEON
  return &neon::simd_kernels();  // which every AArch64 processor has
#else
  return nullptr;
#endif
}

const SimdKernels* neondot_kernels() {
#ifdef CONDENSED_NEONDOT
  if ((::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) {
    return &neondot::simd_kernels();
  }
#endif
  return nullptr;
}

struct VectorKind {
  std::string_view name;
  std::string_view needs;
  const SimdKernels* (*kernels)();
};
// Of each architecture the best first.
constexpr VectorKind kVectorKinds[] = {{"avx512vnni", "AVX-512 F, DQ, BW, VL and VNNI", avx512vnni_kernels},
                                       {"avx512", "AVX-512 F, DQ, BW and VL", avx512_kernels},
                                       {"avx2", "AVX2, FMA and F16C", avx2_kernels},
                                       {"neondot", "AArch64's NEON and its dot products", neondot_kernels},
                                       {"neon", "AArch64's NEON", neon_kernels}};

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
    const auto* best = std::ranges::find_if(
        kVectorKinds, [](const VectorKind& vector) { return vector.kernels() != nullptr; });
    kind = best == std::end(kVectorKinds) ? "reference" : best->name;
  }
  if (kind == "reference") {
    return std::make_unique<ReferenceBackend>();
  }
  const auto* chosen = std::ranges::find(kVectorKinds, kind, &VectorKind::name);
  if (chosen == std::end(kVectorKinds)) {
    throw std::invalid_argument("unknown backend \"" + std::string(kind) +
                                "\": expected \"auto\", \"avx512vnni\", \"avx512\", \"avx2\", \"neondot\", "
                                "\"neon\", \"reference\", \"cuda\" or \"cuda:N\"");
  }
  const SimdKernels* kernels = chosen->kernels();
  if (kernels == nullptr) {
    throw std::invalid_argument("backend \"" + std::string(kind) + "\" needs a processor with " +
                                std::string(chosen->needs) +
                                ", which this one lacks; use \"auto\" or \"reference\"");
  }
  return std::make_unique<CpuBackend>(*kernels, n_threads);
}

}  // namespace condensed::kernels
