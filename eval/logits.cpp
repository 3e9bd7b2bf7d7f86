#include <vector>

#include "engine/input_error.h"
#include "engine/model.h"
#include "engine/safetensors.h"
#include "eval/commands.h"
#include "eval/progress.h"
#include "eval/stream_reader.h"
#include "eval/token_source.h"

namespace condensed::eval {

boost::json::object run_logits(const LogitsOptions& options) {
  const RunOptions& run = options.run;
  const auto model = run.load();
  const int vocab_size = model->config.vocab_size;
  const TokenFile file = read_token_file(options.tokens, vocab_size);
  const auto n_tokens = static_cast<std::int64_t>(file.tokens.size());

  // Without a window nothing is ever evicted.
  cache::StreamWindow window;
  window.sinks = run.sinks.value_or(file.sinks.value_or(0));
  window.window = run.window ? *run.window : file.window.value_or(n_tokens);
  if (window.window < 1) {
    throw engine::InputError("window " + std::to_string(window.window) + ": expected at least 1");
  }
  engine::PromptOptions prompt = run.prompt();
  if (prompt.mode == engine::PromptMode::passes) {
    prompt.chunk_tokens = n_tokens;  // the paper's way: the whole prompt at once
  }
  if (prompt.mode == engine::PromptMode::adaptive) {
    prompt.chunk_tokens = std::min(prompt.chunk_tokens, n_tokens);
  }

  StreamReader reader(*model, window, run.cache(), prompt, options.skip);
  std::vector<float> logits;
  logits.reserve(file.tokens.size() * static_cast<std::size_t>(vocab_size));
  {
    Progress progress("tokens", n_tokens);
    reader.read(file.tokens, [&](std::size_t, std::span<const float> row) {
      logits.insert(logits.end(), row.begin(), row.end());
      progress.advance();
    });
  }
  const engine::TensorView tensor{.name = "logits",
                                  .type = engine::ElementType::f32,
                                  .shape = {n_tokens, vocab_size},
                                  .data = std::as_bytes(std::span(logits)),
                                  .file = options.output};
  engine::write_safetensors(options.output, std::span(&tensor, 1));
  return {{"model", model->name},
          {"backend", std::string(model->backend->name())},
          {"tokens", n_tokens},
          {"vocab_size", vocab_size},
          {"sinks", window.sinks},
          {"window", window.window},
          {"prefill", run.prefill},
          {"weights", run.weights},
          {"cache_dtype", run.cache_dtype},
          {"evictions", reader.cache().evictions()},
          {"output", options.output.string()}};
}

}  // namespace condensed::eval
