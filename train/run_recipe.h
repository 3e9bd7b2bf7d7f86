#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <boost/json.hpp>

namespace condensed::train {

/// Everything that decides what a run computes, and on what. Kept in the run's folder, so that going on needs
/// no options.
struct RunRecipe {
  std::filesystem::path model;       // folder it begins with, Hugging Face layout
  std::filesystem::path tokens;      // of condensed-train prepare
  std::filesystem::path validation;  // likewise; empty: none
  std::int64_t n_tokens = 0;         // in `tokens`, set when a run begins: it goes on with the same file only
  std::int64_t steps = 1000;
  std::int64_t batch_tokens = 16384;  // tokens a step
  std::int64_t micro_tokens = 4096;   // of them at once in memory; gradients add up
  std::string sequence = "256";       // tokens; a StepSchedule
  std::string passes_without_gradient = "7";
  std::string passes_with_gradient = "2";
  double learning_rate = 1e-3;
  double final_learning_rate = 0.1;  // share of learning_rate
  std::int64_t warmup_steps = 100;
  double weight_decay = 0.1;  // of matrices
  double beta1 = 0.9;
  double beta2 = 0.95;
  double clip = 1;               // largest norm of a gradient
  double kv_loss = 0;            // weight of the KV loss
  bool first_token = false;      // every sequence begins with the bos token: a learnable sink
  std::int64_t skip_tokens = 0;  // of the order, as if they had been read
  std::uint64_t seed = 1;
  std::string precision = "f32";
  bool recompute = false;
  std::int64_t validate_every = 250;  // steps; 0: only at the end
  std::int64_t validation_sequences = 32;
  std::int64_t save_every = 250;  // steps
  std::string device = "cpu";     // as libtorch names them: cpu, cuda, cuda:1
  int threads = 0;                // 0: libtorch's choice
};

boost::json::object to_json(const RunRecipe& recipe);

/// Throws InputError, beginning with `place`, when a key is missing or of the wrong kind.
RunRecipe recipe_of(const boost::json::object& object, const std::string& place);

/// Throws InputError saying which option does not fit, and why.
void check(const RunRecipe& recipe);

}  // namespace condensed::train
