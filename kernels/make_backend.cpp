#include "kernels/make_backend.h"

#include <stdexcept>
#include <string>

#include "kernels/reference/reference_backend.h"

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

std::unique_ptr<Backend> make_cpu_backend([[maybe_unused]] std::string_view kind,
                                          [[maybe_unused]] int n_threads) {
#ifdef CONDENSED_X86
  if (kind == "avx512") {
    return std::make_unique<CpuBackend>(avx512::simd_kernels(), n_threads);
  }
  return std::make_unique<CpuBackend>(avx2::simd_kernels(), n_threads);
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
  if (kind == "auto") {
    kind = runs_avx512() ? "avx512" : runs_avx2() ? "avx2" : "reference";
  }
  if (kind == "reference") {
    return std::make_unique<ReferenceBackend>();
  }
  if (kind != "avx2" && kind != "avx512") {
    throw std::invalid_argument("unknown backend \"" + std::string(kind) +
                                "\": expected \"auto\", \"avx2\", \"avx512\" or \"reference\"");
  }
  if (kind == "avx512" ? !runs_avx512() : !runs_avx2()) {
    throw std::invalid_argument("backend \"" + std::string(kind) + "\" needs a processor with " +
                                (kind == "avx512" ? "AVX-512 F, DQ, BW and VL" : "AVX2, FMA and F16C") +
                                ", which this one lacks; use \"auto\" or \"reference\"");
  }
  return make_cpu_backend(kind, n_threads);
}

}  // namespace condensed::kernels
