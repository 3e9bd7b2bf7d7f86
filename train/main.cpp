// condensed-train: makes layer-condensed models, from texts, from scratch or from a plain Llama.

#include <cerrno>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <c10/util/Exception.h>

#include "train/commands.h"

namespace {

using namespace condensed::train;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr const char* kTextProgram = "condensed-train-text";

/// tokenizer and prepare are condensed-train-text's (text/commands.h says why), which lies beside this
/// program.
void add_text_command(CLI::App& app, const char* name, const char* description) {
  CLI::App* const command = app.add_subcommand(name, description)->prefix_command();
  command->set_help_flag();  // its own program answers that, too
  command->callback([command, name] {
    const std::string program =
        (std::filesystem::read_symlink("/proc/self/exe").parent_path() / kTextProgram).string();
    std::vector<std::string> arguments = command->remaining();
    arguments.insert(arguments.begin(), {program, name});
    std::vector<char*> pointers;
    for (std::string& argument : arguments) {
      pointers.push_back(argument.data());
    }
    pointers.push_back(nullptr);
    execv(program.c_str(), pointers.data());
    throw std::system_error(errno, std::generic_category(), program + " cannot be started");
  });
}

void add_init(CLI::App& app, InitOptions& options) {
  CLI::App* const command =
      app.add_subcommand("init", "Make a model to begin with: random, or a plain Llama made condensed");
  CLI::Option* const config =
      command->add_option("--config", options.config, "config.json of a model to draw at random");
  CLI::Option* const plain =
      command->add_option("--from", options.plain,
                          "Folder of a plain Llama: its weights are copied, keys and values "
                          "averaged");
  config->excludes(plain);
  command->add_option("--layer-types", options.layer_types,
                      "w=N, the paper's sandwich with N warmup layers, or as in config.json");
  command->add_option("--tokenizer", options.tokenizer, "tokenizer.model to put beside it");
  command->add_option("--out", options.out, "Model folder to write")->required();
  command->add_option("--standard-deviation", options.standard_deviation, "Of random weights")
      ->needs(config)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of random weights")->needs(config)->capture_default_str();
  command->callback([&options] {
    if (options.config.empty() == options.plain.empty()) {
      throw CLI::RequiredError("--config or --from");
    }
    run_init(options);
  });
}

void add_recipe(CLI::App& command, RunRecipe& recipe) {
  command.add_option("--model", recipe.model, "Model folder to begin with (condensed-train init)");
  command.add_option("--tokens", recipe.tokens, "Token file (condensed-train prepare)");
  CLI::Option* const validation =
      command.add_option("--validation", recipe.validation, "Token file of other text, to be judged on");
  command.add_option("--steps", recipe.steps)->capture_default_str();
  command.add_option("--batch-tokens", recipe.batch_tokens, "Tokens a step")->capture_default_str();
  command.add_option("--micro-tokens", recipe.micro_tokens, "Of them at once in memory")
      ->capture_default_str();
  command
      .add_option("--sequence", recipe.sequence,
                  "Tokens of a sequence: N, or N,STEP:N to change it at a step")
      ->capture_default_str();
  command
      .add_option("--passes-without-gradient", recipe.passes_without_gradient,
                  "m of the paper; can change like --sequence")
      ->capture_default_str();
  command.add_option("--passes-with-gradient", recipe.passes_with_gradient, "b of the paper; likewise")
      ->capture_default_str();
  command.add_option("--learning-rate", recipe.learning_rate, "The highest")->capture_default_str();
  command
      .add_option("--final-learning-rate", recipe.final_learning_rate, "Share of it at the end of the cosine")
      ->capture_default_str();
  command.add_option("--warmup-steps", recipe.warmup_steps)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--weight-decay", recipe.weight_decay)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--beta1", recipe.beta1)->check(CLI::Range(0.0, 1.0))->capture_default_str();
  command.add_option("--beta2", recipe.beta2)->check(CLI::Range(0.0, 1.0))->capture_default_str();
  command.add_option("--clip", recipe.clip, "Largest norm of a gradient")->capture_default_str();
  command.add_option("--kv-loss", recipe.kv_loss, "Weight of the change of keys and values in the last pass")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_flag("--sink-token", recipe.first_token,
                   "Begin every sequence with the bos token: a learnable attention sink");
  command.add_option("--skip-tokens", recipe.skip_tokens, "Of the order of reading, as if read already")
      ->capture_default_str();
  command.add_option("--seed", recipe.seed, "Of the order of reading")->capture_default_str();
  command.add_option("--precision", recipe.precision, "Of matrix products: f32, or bf16")
      ->capture_default_str();
  command.add_flag("--recompute", recipe.recompute, "Keep no activations of layers: less memory, more time");
  command.add_option("--validate-every", recipe.validate_every, "Steps; 0: at the end only")
      ->needs(validation)
      ->capture_default_str();
  command.add_option("--validation-sequences", recipe.validation_sequences)
      ->needs(validation)
      ->capture_default_str();
  command.add_option("--save-every", recipe.save_every, "Steps")->capture_default_str();
}

void add_run(CLI::App& app, RunOptions& options) {
  CLI::App* const command = app.add_subcommand("run", "Train; Ctrl-C saves, --resume goes on");
  CLI::Option* const out = command->add_option("--out", options.out, "Folder of the new run");
  CLI::Option* const resume =
      command->add_option("--resume", options.resume, "Folder of a run to go on with: its own recipe holds");
  out->excludes(resume);
  add_recipe(*command, options.recipe);
  for (CLI::Option* const option : command->get_options()) {
    if (option != out && option != resume && option->get_name() != "--help") {
      option->excludes(resume);
    }
  }
  command->add_option("--device", options.device,
                      "cpu (default), cuda or cuda:N; a resumed run's own if not given");
  command->add_option("--threads", options.threads, "0: as libtorch sees fit (default); likewise")
      ->check(CLI::NonNegativeNumber);
  command->callback([&options] {
    if (options.resume.empty() &&
        (options.out.empty() || options.recipe.model.empty() || options.recipe.tokens.empty())) {
      throw CLI::RequiredError("--out, --model and --tokens, or --resume");
    }
    run_run(options);
  });
}

void add_export(CLI::App& app, ExportOptions& options) {
  CLI::App* const command = app.add_subcommand("export", "Write what a run has reached as a model folder");
  command->add_option("RUN", options.run, "Folder of a run")->required();
  command->add_option("OUT", options.out, "Model folder to write")->required();
  command->add_option("--dtype", options.dtype, "Of its weights")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  command->callback([&options] { run_export(options); });
}

void add_logits(CLI::App& app, LogitsOptions& options) {
  CLI::App* const command =
      app.add_subcommand("logits", "Logits of a list of tokens, to compare with condensed-eval's");
  command->add_option("--model", options.model, "Model folder")->required();
  command->add_option("--tokens", options.tokens, "JSON: {\"tokens\": [ids]}")->required();
  command->add_option("--out", options.out, "safetensors file to write")->required();
  command->add_option("--passes", options.passes, "Over all tokens at once; 0: exact, token after token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([&options] { run_logits(options); });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Train layer-condensed models.\n"
      "Exit codes: 0 done, 1 something given cannot be used, 2 usage.",
      "condensed-train");
  app.set_version_flag("--version", "condensed " CONDENSED_VERSION);
  app.require_subcommand(1);
  InitOptions init;
  RunOptions run;
  ExportOptions exported;
  LogitsOptions logits;
  add_text_command(app, "tokenizer", "Train a sentencepiece tokenizer on texts");
  add_text_command(app, "prepare", "Turn texts into a file of tokens");
  add_init(app, init);
  add_run(app, run);
  add_export(app, exported);
  add_logits(app, logits);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  } catch (const c10::Error& error) {
    std::cerr << "condensed-train: " << error.what_without_backtrace() << std::endl;
    return kFailed;
  } catch (const std::exception& error) {
    std::cerr << "condensed-train: " << error.what() << std::endl;
    return kFailed;
  }
  return 0;
}
