#include "engine/model_trial.h"

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cache_memory.h"
#include "engine/transformer.h"

namespace condensed::engine {

void try_out(Model& model, const EngineOptions& options) {
  Transformer transformer(model, options.max_batch_rows, options.cache_dtype);
  const cache::CacheShape shape = transformer.cache_shape();
  set_cache_memory_aside(*model.backend, options.max_cache_bytes,
                         cache::CondensedCache::bytes_when_full(shape, options.default_window));
  cache::CondensedCache cache(*model.backend, shape, options.default_window);
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(options.max_batch_rows), 0);
  const PromptOptions one_pass{.mode = PromptMode::passes, .passes = 1};
  for (const std::size_t n : {tokens.size(), std::size_t{1}}) {
    const Slice slice{.cache = &cache, .tokens = std::span(tokens).first(n), .logits_for = LogitsFor::token};
    transformer.run({&slice, 1}, one_pass);
  }
}

}  // namespace condensed::engine
