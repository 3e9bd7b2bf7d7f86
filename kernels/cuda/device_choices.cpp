#include "kernels/cuda/device_choices.h"

#include <algorithm>
#include <cassert>

#include "kernels/cuda/capacities.h"
#include "kernels/cuda/launches.h"

namespace condensed::kernels::cuda {

void DeviceChoices::collect(std::span<const TokenChoice> choices) {
  rows_.clear();
  adjustments_.clear();
  for (const TokenChoice& choice : choices) {
    rows_.push_back({.inverse_temperature = choice.temperature > 0 ? inverse_temperature(choice) : 0,
                     .top_p = choice.top_p,
                     .least_mass = least_mass(choice),
                     .random = choice.random,
                     .penalties = choice.penalties,
                     .top_k = choice.top_k,
                     .first_adjustment = static_cast<std::int32_t>(adjustments_.size()),
                     .n_adjustments = static_cast<std::int32_t>(choice.adjustments.size())});
    adjustments_.insert(adjustments_.end(), choice.adjustments.begin(), choice.adjustments.end());
  }
}

void DeviceChoices::choose_tokens(std::span<float> logits, std::span<const TokenChoice> choices,
                                  std::span<std::int32_t> tokens) {
  assert(choices.size() == tokens.size());
  const std::int64_t rows = std::ssize(tokens);
  if (rows == 0) {
    return;
  }
  assert(std::ssize(logits) % rows == 0);
  collect(choices);
  const std::int64_t grid_rows = queue_.grid_rows(rows);
  const std::int64_t n_adjustments = std::ssize(adjustments_);
  const std::int64_t capacity = queue_.in_step() ? adjustment_capacity(n_adjustments) : n_adjustments;
  queue_.make_room(
      {grid_rows * std::int64_t{sizeof(ChoiceRow)}, capacity * std::int64_t{sizeof(LogitAdjustment)}});
  queue_.issue(choose_command(
      grid_rows, {.logits = logits.data(),
                  .rows = queue_.place(std::span<const ChoiceRow>(rows_), grid_rows),
                  .adjustments = queue_.place(std::span<const LogitAdjustment>(adjustments_), capacity),
                  .out = tokens.data(),
                  .count = queue_.count(rows),
                  .cols = std::ssize(logits) / rows}));
}

}  // namespace condensed::kernels::cuda
