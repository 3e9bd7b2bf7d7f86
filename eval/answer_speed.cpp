#include "eval/answer_speed.h"

#include "eval/host_machine.h"
#include "eval/stream_batch.h"

namespace condensed::eval {

AnswerSpeed measure_answers(engine::Model& model, const engine::PromptOptions& prompt,
                            kernels::DType cache_dtype, std::int64_t batch, const Lengths& lengths,
                            std::int64_t n_steps, std::int64_t n_warmup) {
  StreamBatch streams(model, prompt, cache_dtype, batch, {0, lengths.total()});
  AnswerSpeed speed;
  for (const std::int64_t n_cached :
       {lengths.prompt, lengths.prompt + lengths.generated / 2, lengths.total() - n_steps - n_warmup}) {
    streams.fill_to(n_cached);
    speed.fills.push_back(streams.time_decoding(n_steps, n_warmup));
  }
  speed.cache_bytes = streams.cache_bytes();
  speed.resident_bytes = resident_memory_bytes();
  const auto simpson = [&](auto&& seconds_of) {
    return (seconds_of(speed.fills[0]) + 4 * seconds_of(speed.fills[1]) + seconds_of(speed.fills[2])) / 6;
  };
  const auto n = static_cast<double>(batch);
  speed.tokens_per_s = n / simpson([](const StepLatencies& steps) { return steps.at_s(0.5); });
  speed.tokens_per_cpu_s = n / simpson([](const StepLatencies& steps) { return steps.mean_cpu_s(); });
  return speed;
}

}  // namespace condensed::eval
