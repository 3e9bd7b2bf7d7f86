#pragma once

#include <vector>

namespace condensed::eval {

/// How long steps took.
class StepLatencies {
 public:
  /// seconds: at least one step, in any order. cpu_s: processor time that all of them took, of all threads.
  StepLatencies(std::vector<double> seconds, double cpu_s);

  /// The smallest that a share `quantile` of the steps does not exceed.
  double at_s(double quantile) const;
  double mean_s() const;
  /// Processor time of a step: what it costs when others hold the processors in between, too. Threads that
  /// wait for each other may add to it.
  double mean_cpu_s() const { return cpu_s_ / static_cast<double>(sorted_s_.size()); }
  double max_s() const { return sorted_s_.back(); }

 private:
  std::vector<double> sorted_s_;
  double cpu_s_;
};

}  // namespace condensed::eval
