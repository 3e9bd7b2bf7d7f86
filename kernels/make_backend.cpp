#include "kernels/make_backend.h"

#include <stdexcept>
#include <string>

#include "kernels/reference/reference_backend.h"

#ifdef CONDENSED_AVX2
#include "kernels/cpu/cpu_backend.h"
#endif

namespace condensed::kernels {

namespace {

bool processor_has_avx2() {
#ifdef CONDENSED_AVX2
  // Every processor that has AVX2 has F16C, which not every compiler can ask for.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

std::unique_ptr<Backend> make_avx2([[maybe_unused]] int n_threads) {
#ifdef CONDENSED_AVX2
  if (processor_has_avx2()) {
    return std::make_unique<CpuBackend>(n_threads);
  }
#endif
  throw std::invalid_argument(
      "backend \"avx2\" needs a processor with AVX2, FMA and F16C, which this one lacks; use \"auto\" or "
      "\"reference\"");
}

}  // namespace

std::unique_ptr<Backend> make_backend(std::string_view kind, int n_threads) {
  if (n_threads < 0) {
    throw std::invalid_argument("number of threads is " + std::to_string(n_threads) +
                                ": expected 0 (one per processor) or more");
  }
  if (kind == "avx2" || (kind == "auto" && processor_has_avx2())) {
    return make_avx2(n_threads);
  }
  if (kind == "reference" || kind == "auto") {
    return std::make_unique<ReferenceBackend>();
  }
  throw std::invalid_argument("unknown backend \"" + std::string(kind) +
                              "\": expected \"auto\", \"avx2\" or \"reference\"");
}

}  // namespace condensed::kernels
