#include "engine/weight_format.h"
#include "eval/commands.h"
#include "kernels/device_choice.h"
#include "kernels/make_backend.h"

namespace condensed::eval {

std::unique_ptr<kernels::Backend> RunOptions::backend() const {
  const auto setting = condensed::kernels::parse_device(device).value();
  const auto survey = setting.cuda ? condensed::kernels::survey_cuda() : condensed::kernels::CudaSurvey{};
  const auto choice = condensed::kernels::choose_device(setting, survey);
  return condensed::kernels::make_backend(choice.backend_kind(kernels), threads);
}

std::shared_ptr<engine::Model> RunOptions::load() const {
  return engine::load_model(model, backend(), engine::parse_weight_format(weights));
}

engine::PromptOptions RunOptions::prompt() const {
  return engine::parse_prompt_mode(prefill,
                                   {.chunk_tokens = prompt_chunk_tokens, .tolerance = prompt_tolerance});
}

kernels::DType RunOptions::cache() const {
  return condensed::kernels::dtype_named(cache_dtype).value();
}

}  // namespace condensed::eval
