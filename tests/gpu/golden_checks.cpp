// The whole model against the reference vectors of tests/golden, which were computed in float64.

#include <cstdio>

#include "tests/gpu/checks.h"
#include "tests/gpu/golden_case.h"

namespace condensed::gpu_check {

using engine::PromptMode;
using engine::PromptOptions;
using kernels::DType;

namespace {

constexpr double kFloatTolerance = 1e-4;
// With 16-bit weights a device may split activations into two 16-bit parts: 2^-15 of each, and what layers
// make of it.
constexpr double kBf16Tolerance = 2e-3;
// A cache of 8 bits' precision costs these random weights 0.087 on any device.
constexpr double kBf16CacheTolerance = 0.2;

Finding judge(double difference, double tolerance) {
  char text[80];
  std::snprintf(text, sizeof(text), "largest error %.2g, allowed %.2g", difference, tolerance);
  return {.outcome = outcome_if(difference <= tolerance),
          .detail = text,
          .figures = {{"largest_error", difference}, {"tolerance", tolerance}}};
}

}  // namespace

void check_golden(const Setting& setting, Report& report) {
  for (const GoldenCase& golden : read_golden_cases(setting.golden)) {
    const bool bf16_weights = golden.name().starts_with("bf16");
    const double tolerance = bf16_weights ? kBf16Tolerance : kFloatTolerance;
    const auto run = [&](const char* way, const char* tensor, const PromptOptions& prompt, DType cache_dtype,
                         double allowed) {
      report.run("golden." + golden.name() + "." + way, [&] {
        const auto model = golden.model(setting.make_backend());
        return judge(
            largest_difference(golden.logits(*model, prompt, cache_dtype), golden.expected.at(tensor)),
            allowed);
      });
    };
    run("serial", "logits", {.mode = PromptMode::serial}, DType::f32, tolerance);
    run("chunks", "logits", {.mode = PromptMode::adaptive, .chunk_tokens = 16, .tolerance = 1e-6}, DType::f32,
        tolerance);
    if (golden.cyclic) {
      run("nine_passes", "logits_parallel_m7_b2",
          {.mode = PromptMode::passes, .chunk_tokens = std::ssize(golden.tokens), .passes = 9}, DType::f32,
          tolerance);
    }
    if (bf16_weights) {
      run("serial_bf16_cache", "logits", {.mode = PromptMode::serial}, DType::bf16, kBf16CacheTolerance);
    }
  }
}

}  // namespace condensed::gpu_check
