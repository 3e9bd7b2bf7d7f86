#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "train/run_recipe.h"

namespace condensed::train {

// The subcommands of condensed-train that compute with libtorch; those on texts are in text/.
// All throw engine::InputError for what cannot be used.

/// A model folder to begin a run with: random weights of a configuration, or a plain Llama made condensed.
struct InitOptions {
  std::filesystem::path config;     // config.json; empty: from `plain`
  std::filesystem::path plain;      // model folder; empty: random
  std::filesystem::path tokenizer;  // with `config`
  std::string layer_types;          // "w=2", or as config.json has them; empty: as they are
  std::filesystem::path out;
  double standard_deviation = 0.02;
  std::uint64_t seed = 1;
};
void run_init(const InitOptions& options);

struct RunOptions {
  RunRecipe recipe;
  std::filesystem::path out;     // folder of a new run
  std::filesystem::path resume;  // folder of a run to go on with: its own recipe holds, but for what follows
  std::optional<std::string> device;
  std::optional<int> threads;
};
void run_run(const RunOptions& options);

/// What a run has reached, as a model folder in the Hugging Face layout.
struct ExportOptions {
  std::filesystem::path run;
  std::filesystem::path out;
  std::string dtype = "bf16";
};
void run_export(const ExportOptions& options);

/// The logits of every token of a list, as a safetensors file with one tensor `logits`, [tokens, vocab]: what
/// condensed-eval logits writes, too, from an implementation that shares no arithmetic with this one.
struct LogitsOptions {
  std::filesystem::path model;
  std::filesystem::path tokens;  // JSON: {"tokens": [ids]}
  std::filesystem::path out;
  std::int64_t passes = 0;  // over the whole list; 0: exact decoding
};
void run_logits(const LogitsOptions& options);

}  // namespace condensed::train
