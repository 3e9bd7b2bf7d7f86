#include "engine/weight_format.h"
#include "eval/commands.h"
#include "kernels/make_backend.h"

namespace condensed::eval {

std::shared_ptr<engine::Model> RunOptions::load() const {
  return engine::load_model(model, condensed::kernels::make_backend(kernels, threads),
                            engine::parse_weight_format(weights));
}

engine::PromptOptions RunOptions::prompt() const {
  return engine::parse_prompt_mode(prefill,
                                   {.chunk_tokens = prompt_chunk_tokens, .tolerance = prompt_tolerance});
}

kernels::DType RunOptions::cache() const {
  return condensed::kernels::dtype_named(cache_dtype).value();
}

}  // namespace condensed::eval
