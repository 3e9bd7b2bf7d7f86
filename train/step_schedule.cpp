#include "train/step_schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <sstream>

#include "engine/input_error.h"

namespace condensed::train {

namespace {

bool parse(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

StepSchedule::StepSchedule(const std::string& option, const std::string& text, std::int64_t least) {
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t colon = part.find(':');
    Change change;
    const bool first = changes_.empty();
    const bool step_fits = first ? colon == std::string::npos
                                 : colon != std::string::npos &&
                                       parse(std::string_view(part).substr(0, colon), change.step) &&
                                       change.step > changes_.back().step;
    if (!step_fits || !parse(std::string_view(part).substr(first ? 0 : colon + 1), change.value) ||
        change.value < least) {
      throw engine::InputError(
          option + ": \"" + part + "\" in \"" + text +
          "\": expected VALUE[,STEP:VALUE]… with ascending steps and values of at least " +
          std::to_string(least) + ", as in \"256,4000:512\"");
    }
    changes_.push_back(change);
  }
  if (changes_.empty()) {
    throw engine::InputError(option + ": is empty; expected VALUE[,STEP:VALUE]…");
  }
}

std::int64_t StepSchedule::at(std::int64_t step) const {
  const auto later = std::ranges::upper_bound(changes_, step, {}, &Change::step);
  return std::prev(later)->value;
}

std::int64_t StepSchedule::largest() const {
  return std::ranges::max_element(changes_, {}, &Change::value)->value;
}

std::vector<std::int64_t> StepSchedule::values() const {
  std::vector<std::int64_t> all;
  for (const Change& change : changes_) {
    all.push_back(change.value);
  }
  return all;
}

double LearningRate::at(std::int64_t step) const {
  if (step < warmup_steps) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  const double left = static_cast<double>(std::max<std::int64_t>(1, steps - warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps) / left);
  return peak * (final_share + (1 - final_share) * 0.5 * (1 + std::cos(std::numbers::pi * progress)));
}

}  // namespace condensed::train
