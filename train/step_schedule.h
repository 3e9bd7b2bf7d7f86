#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace condensed::train {

/// A whole number that changes at given steps of a run: "256,4000:512" is 256, and 512 from step 4,000 on.
class StepSchedule {
 public:
  /// Throws InputError, beginning with `option`, for anything else, steps that do not ascend, and values
  /// below `least`.
  StepSchedule(const std::string& option, const std::string& text, std::int64_t least);

  std::int64_t at(std::int64_t step) const;
  std::int64_t largest() const;
  std::vector<std::int64_t> values() const;

 private:
  struct Change {
    std::int64_t step = 0;
    std::int64_t value = 0;
  };
  std::vector<Change> changes_;  // ascending; the first at step 0
};

/// Linear warmup from 0, then half a cosine down to `final_share` of the peak, where the run ends.
struct LearningRate {
  double peak = 0;
  double final_share = 0.1;
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 0;

  double at(std::int64_t step) const;
};

}  // namespace condensed::train
