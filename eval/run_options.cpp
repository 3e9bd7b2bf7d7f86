#include <utility>

#include "engine/weight_format.h"
#include "eval/commands.h"
#include "eval/model_place.h"
#include "kernels/make_backend.h"

namespace condensed::eval {

std::shared_ptr<engine::Model> RunOptions::make(const MakeModel& make) const {
  const bool asks_driver = condensed::kernels::parse_device(device)->cuda;
  return make_model_on(
      device, kernels, asks_driver ? condensed::kernels::survey_cuda() : condensed::kernels::CudaSurvey{},
      [&](const std::string& kind) { return make(condensed::kernels::make_backend(kind, threads)); });
}

std::shared_ptr<engine::Model> RunOptions::load() const {
  return make([this](std::unique_ptr<condensed::kernels::Backend> backend) {
    return engine::load_model(model, std::move(backend), engine::parse_weight_format(weights));
  });
}

engine::PromptOptions RunOptions::prompt() const {
  return engine::parse_prompt_mode(prefill,
                                   {.chunk_tokens = prompt_chunk_tokens, .tolerance = prompt_tolerance});
}

kernels::DType RunOptions::cache() const {
  return condensed::kernels::dtype_named(cache_dtype).value();
}

}  // namespace condensed::eval
