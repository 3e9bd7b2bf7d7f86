#include "eval/command_line.h"

#include <optional>
#include <string>

#include "kernels/device_choice.h"

namespace condensed::eval {

namespace {

/// What every command has.
void add_run_options(CLI::App& command, RunOptions& run, const std::string& cache_flags = "--cache-dtype") {
  command
      .add_option("--device", run.device,
                  "cpu, cuda, cuda:N, or auto (cuda if it can be used, and no --kernels are asked for)")
      ->check([](const std::string& text) {
        return kernels::parse_device(text) ? std::string() : "expected cpu, cuda, cuda:N or auto";
      })
      ->capture_default_str();
  command
      .add_option("--kernels", run.kernels,
                  "Of the processor: auto, avx512vnni, avx512, avx2, neondot, neon or reference")
      ->capture_default_str();
  command.add_option("--weights", run.weights, "stored (as the checkpoint has them), bf16, f16, q8 or q4")
      ->check(CLI::IsMember({"stored", "bf16", "f16", "q8", "q4"}))
      ->capture_default_str();
  command.add_option(cache_flags, run.cache_dtype, "Numbers of cached keys and values: f32, bf16, f16 or q8")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "q8"}))
      ->capture_default_str();
  command.add_option("--threads", run.threads, "0: one per processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

CLI::Option* add_model(CLI::App& command, RunOptions& run) {
  return command.add_option("--model", run.model, "Model folder in the Hugging Face layout");
}

void add_sinks(CLI::App& command, RunOptions& run) {
  command.add_option("--sinks", run.sinks, "First tokens of the stream that stay cached")
      ->check(CLI::Range(0, 1 << 20));
}

void add_window(CLI::App& command, RunOptions& run) {
  command.add_option("--window", run.window, "Latest tokens that stay cached")->check(CLI::Range(1, 1 << 30));
}

void add_prompt_options(CLI::App& command, RunOptions& run) {
  command
      .add_option("--prefill", run.prefill,
                  "auto (what costs less), serial (token by token, exact), adaptive (in chunks, iterated "
                  "until they stand still) or "
                  "passes=N (iterated N times)")
      ->capture_default_str();
  command.add_option("--prompt-chunk", run.prompt_chunk_tokens, "Tokens in a chunk")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      .add_option("--prompt-tolerance", run.prompt_tolerance,
                  "adaptive: largest change of a key or value that counts as standing still")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void add_outputs(CLI::App& command, ReportOutputs& outputs) {
  command
      .add_option_function<std::string>(
          "--json", [&outputs](const std::string& path) { outputs.json = path; },
          "File for the figures as JSON; without a name: to standard output, instead of the table")
      ->expected(0, 1);
  command.add_option("--html", outputs.html, "File for a page with tables and plots");
}

}  // namespace

CLI::App* add_logits(CLI::App& app, LogitsOptions& options) {
  CLI::App* command =
      app.add_subcommand("logits", "Write the logits after every token to a safetensors file");
  add_model(*command, options.run)->required();
  add_run_options(*command, options.run);
  add_sinks(*command, options.run);
  add_window(*command, options.run);
  add_prompt_options(*command, options.run);
  command
      ->add_option(
          "--tokens", options.tokens,
          "JSON: a list of ids, or an object with tokens, sinks and window (null: never evict), which "
          "--sinks and --window override")
      ->required();
  command
      ->add_option("--output", options.output, "File for the tensor `logits` [tokens, vocabulary], float32")
      ->required();
  command
      ->add_option("--skip", options.skip,
                   "Move the stream on by this many positions once the sinks are full, to look far along it")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 60));
  return command;
}

CLI::App* add_perplexity(CLI::App& app, PerplexityOptions& options) {
  CLI::App* command = app.add_subcommand("perplexity", "Score a text as one stream");
  add_model(*command, options.run)->required();
  add_run_options(*command, options.run);
  command
      ->add_option(
          "--sinks", options.sinks,
          "First tokens of the stream that stay cached; a list, as in 0,1,2,4,8, compares them in caches "
          "of one size: that of the largest and --window")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  add_window(*command, options.run);
  add_prompt_options(*command, options.run);
  command->add_option("--text", options.text, "UTF-8 text file")->required();
  CLI::Option* cache =
      command
          ->add_option(
              "--cache", options.cache,
              "sinks (sinks and window), window-only (no sinks, the same memory) or dense-recompute (the "
              "context recomputed for every token, on segments, beside the sinks' score of the same tokens)")
          ->check(CLI::IsMember({"sinks", "window-only", "dense-recompute"}))
          ->capture_default_str();
  command
      ->add_option(
          "--compare", options.compare,
          "A list of caches to score in one run: sinks, window-only, dense-recompute, and dense (nothing is "
          "ever evicted)")
      ->delimiter(',')
      ->check(CLI::IsMember({"sinks", "window-only", "dense-recompute", "dense"}))
      ->excludes(cache);
  command->add_option("--max-tokens,--tokens", options.max_tokens, "Tokens of the text to use; 0: all")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--dense-tokens", options.dense_tokens,
                   "Of those, what the dense cache reads: it grows with every token; 0: all")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30))
      ->capture_default_str();
  command
      ->add_option("--every", options.every,
                   "Tokens in a part of the report; 0: an eighth of the stream, of a comparison a fortieth")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--bos,!--no-bos", options.bos, "Begin with the beginning-of-sequence token (default)");
  command->add_option("--segments", options.segments.count, "dense-recompute: segments along the stream")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--segment-tokens", options.segments.length, "dense-recompute: tokens in a segment")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add_outputs(*command, options.outputs);
  return command;
}

CLI::App* add_throughput(CLI::App& app, ThroughputOptions& options) {
  CLI::App* command = app.add_subcommand("throughput", "Measure speed and memory");
  options.run.cache_dtype = "f16";
  add_model(*command, options.run);
  add_run_options(*command, options.run, "--cache,--cache-dtype");
  add_sinks(*command, options.run);
  add_window(*command, options.run);
  add_prompt_options(*command, options.run);
  command->add_option("--random", options.random,
                      "Random weights instead of --model: tinyllama, llama-7b, llama-30b or a config.json");
  command->add_option("--layer-types", options.layer_types,
                      "Of --random: as in config.json, plain, or w=N (N warmup layers)");
  command->add_option("--batch", options.batch, "Streams side by side")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--prompt", options.prompt_tokens, "Tokens of a prompt that every stream reads first")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  command->add_option("--tokens", options.tokens, "Tokens that every stream decodes")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  command->add_option("--skip", options.skip, "Move the streams on by this many positions before they decode")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 60));
  command->add_flag("--fill", options.fill, "Fill the windows first, so that every token evicts one");
  command->add_flag("--sweep", options.sweep, "Batches of 1 to 64, windows of 256, 1020 and 4096");
  command->add_flag("--json", options.json, "A JSON object instead of a table");
  return command;
}

CLI::App* add_recall(CLI::App& app, RecallOptions& options) {
  CLI::App* command = app.add_subcommand(
      "recall", "Measure what a stream remembers of facts, by how long ago they were there");
  add_model(*command, options.run)->required();
  add_run_options(*command, options.run);
  add_sinks(*command, options.run);
  add_window(*command, options.run);
  command->add_option("--text", options.text,
                      "UTF-8 text that surrounds the facts; without it, random tokens do");
  command
      ->add_option("--distances", options.distances,
                   "A list of tokens between a fact and the question for it; default: around the window")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 24));
  command->add_option("--trials", options.trials, "Facts asked for at every distance")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--key-tokens", options.key_tokens, "Tokens of a fact that ask for it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--value-tokens", options.value_tokens, "Tokens of a fact that are asked for")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the facts and what surrounds them")->capture_default_str();
  add_outputs(*command, options.outputs);
  return command;
}

CLI::App* add_paper(CLI::App& app, PaperOptions& options) {
  CLI::App* command = app.add_subcommand(
      "paper", "Measure a plain against a layer-condensed cache on random weights: the paper's experiment");
  options.run.weights = "q4";
  options.run.cache_dtype = "f16";
  add_run_options(*command, options.run, "--cache,--cache-dtype");
  command->get_option("--weights")->check(CLI::IsMember({"bf16", "f16", "q8", "q4"}));
  command
      ->add_option(
          "--random", options.shapes,
          "Shapes, each with the memory for weights and sessions: tinyllama, llama-7b, llama-30b or a "
          "config.json")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--layer-types", options.layer_types,
                   "As in config.json, plain, or w=N (N warmup layers); ratios are against the first")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--lengths", options.lengths, "Tokens of a session's prompt and answer")
      ->capture_default_str();
  command->add_option("--cache-sizes", options.cache_sizes, "Sinks and window of an endless stream, together")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  command
      ->add_option("--steps", options.steps, "Timed at each of three places of the largest batch's answers")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--stream-steps", options.stream_steps, "Timed at each cache size")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add_outputs(*command, options.outputs);
  return command;
}

}  // namespace condensed::eval
