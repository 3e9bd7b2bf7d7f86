#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model.h"
#include "engine/prompt_options.h"
#include "eval/paper_plan.h"
#include "eval/step_latencies.h"

namespace condensed::eval {

/// What a batch of sessions costs while all of them generate their answers.
struct AnswerSpeed {
  std::vector<StepLatencies> fills;  // at the beginning, in the middle and at the end of the answers
  double tokens_per_s = 0;
  double tokens_per_cpu_s = 0;
  std::size_t cache_bytes = 0;      // of all sessions, at the end
  std::int64_t resident_bytes = 0;  // of this process, then
};

/// A step takes longer the more is cached, so it is timed at three places, at the last one with the memory
/// that was computed for the batch, and averaged by Simpson's rule. lengths.generated must have room for all
/// steps.
AnswerSpeed measure_answers(engine::Model& model, const engine::PromptOptions& prompt,
                            kernels::DType cache_dtype, std::int64_t batch, const Lengths& lengths,
                            std::int64_t n_steps, std::int64_t n_warmup);

}  // namespace condensed::eval
