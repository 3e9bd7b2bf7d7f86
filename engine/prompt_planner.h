#pragma once

#include <cstdint>
#include <map>

#include "engine/prompt_options.h"
#include "engine/transformer.h"

namespace condensed::engine {

/// Chooses how the next tokens of a prompt are read: one of them, exactly, together with whatever else is in
/// the step, or a chunk that is iterated until it stands still.
///
/// The choice follows costs: seconds of a step by its number of rows, measured once, and passes that chunks
/// of a size took, which start as measured on a trained model and follow what happens.
class PromptPlanner {
 public:
  /// Seconds of a step by its number of rows; at least one entry when prompt.mode is automatic.
  using StepSeconds = std::map<std::int64_t, double>;

  /// step_seconds is looked at only when prompt.mode is automatic.
  PromptPlanner(const PromptOptions& prompt, StepSeconds step_seconds);

  /// Measures steps when prompt.mode is automatic: some milliseconds for a small model, a second or two for
  /// one of billions of weights.
  static PromptPlanner measured(Model& model, Transformer& transformer, const PromptOptions& prompt);

  /// How many of n_waiting (≥ 1) tokens of one prompt to run next; n_others: rows of other sessions in the
  /// step.
  std::int64_t slice_tokens(std::int64_t n_waiting, std::int64_t n_others) const;

  /// A chunk of n tokens took that many passes.
  void observe(std::int64_t n_tokens, std::int64_t passes);

  /// Seconds of a step of n rows, between and beyond the measured sizes along straight lines.
  double step_seconds(std::int64_t n_rows) const;

 private:
  PromptOptions prompt_;
  StepSeconds step_seconds_;
  std::map<std::int64_t, double> passes_;  // by chunk size
};

}  // namespace condensed::engine
