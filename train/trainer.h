#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include <torch/torch.h>

#include "engine/model_config.h"
#include "train/decoder.h"
#include "train/run_recipe.h"
#include "train/sequence_order.h"
#include "train/step_schedule.h"
#include "train/token_file.h"
#include "train/training_log.h"

namespace condensed::train {

/// A run: its recipe, its model, and how far it has come. Its folder holds
///   recipe.json, config.json, tokenizer.model (if the model had one)
///   state.pt: parameters, moments of the optimiser, steps done; replaced at once, so that a crash loses only
///   what came after the last one
///   log.csv, log.html
/// The same recipe gives the same numbers, to the bit, on the same machine with the same number of threads,
/// however often it was stopped and resumed.
class Trainer {
 public:
  /// Begins a run in `folder`, which must not hold one. Throws InputError.
  static std::unique_ptr<Trainer> begin(const std::filesystem::path& folder, RunRecipe recipe,
                                        const torch::Device& device);
  /// Goes on with the run of `folder` from its last saved state. Throws InputError.
  static std::unique_ptr<Trainer> resume(const std::filesystem::path& folder, const torch::Device& device);

  const RunRecipe& recipe() const { return recipe_; }
  std::int64_t steps_done() const { return steps_done_; }

  /// Runs to the last step; after each one `after_step` may end it early by returning false. The state is
  /// saved, and the page written, as the recipe says and before this returns. Throws InputError when the loss
  /// is no number any more: the last saved state stays.
  void run(const std::function<bool(const StepRecord&)>& after_step);

 private:
  Trainer(std::filesystem::path folder, RunRecipe recipe, const engine::ModelConfig& config,
          Parameters parameters, const torch::Device& device, std::int64_t steps_done);

  StepRecord step();
  Validation validate();
  double validation_loss(const std::function<torch::Tensor(const torch::Tensor&)>& logits_of);
  std::int64_t tokens_read() const;
  void save() const;
  void load_optimiser(torch::serialize::InputArchive& archive);

  std::filesystem::path folder_;
  RunRecipe recipe_;
  torch::Device device_;
  StepSchedule sequence_;
  StepSchedule passes_without_gradient_;
  StepSchedule passes_with_gradient_;
  LearningRate learning_rate_;
  TokenFile tokens_;
  SequenceOrder order_;
  std::unique_ptr<TokenFile> validation_;            // null: none
  std::unique_ptr<SequenceOrder> validation_order_;  // likewise
  Decoder decoder_;
  std::unique_ptr<torch::optim::AdamW> optimiser_;
  std::int64_t steps_done_ = 0;
  std::unique_ptr<TrainingLog> log_;  // null until the folder is the run's
};

/// The recipe of the run of `folder`. Throws InputError.
RunRecipe read_recipe(const std::filesystem::path& folder);

/// The parameters that the run of `folder` has reached. Throws InputError.
Parameters load_run_parameters(const std::filesystem::path& folder, const engine::ModelConfig& config);

}  // namespace condensed::train
