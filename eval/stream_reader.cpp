#include "eval/stream_reader.h"

#include <algorithm>
#include <utility>

namespace condensed::eval {

StreamReader::StreamReader(engine::Model& model, const cache::StreamWindow& window,
                           kernels::DType cache_dtype, const engine::PromptOptions& prompt, std::int64_t skip)
    : vocab_size_(model.config.vocab_size),
      prompt_(prompt),
      skip_(skip),
      transformer_(model, prompt.mode == engine::PromptMode::serial ? 1 : prompt.chunk_tokens, cache_dtype),
      planner_(engine::PromptPlanner::measured(model, transformer_, prompt)),
      cache_(*model.backend, transformer_.cache_shape(), window) {}

void StreamReader::read(std::span<const std::int32_t> tokens, const OnLogits& on_logits) {
  std::size_t done = 0;
  while (done < tokens.size()) {
    const std::int64_t sinks_left = cache_.window().sinks - cache_.position();
    if (skip_ > 0 && sinks_left <= 0) {
      cache_.skip(std::exchange(skip_, 0));
    }
    std::int64_t n = planner_.slice_tokens(static_cast<std::int64_t>(tokens.size() - done), 0);
    if (skip_ > 0) {
      n = std::min(n, sinks_left);
    }
    const engine::Slice slice{.cache = &cache_,
                              .tokens = tokens.subspan(done, static_cast<std::size_t>(n)),
                              .logits_for = engine::LogitsFor::all};
    transformer_.run(std::span(&slice, 1), prompt_);
    for (std::int64_t row = 0; row < n; ++row) {
      on_logits(done + static_cast<std::size_t>(row),
                transformer_.logits().subspan(static_cast<std::size_t>(row * vocab_size_),
                                              static_cast<std::size_t>(vocab_size_)));
    }
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace condensed::eval
