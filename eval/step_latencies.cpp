#include "eval/step_latencies.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace condensed::eval {

StepLatencies::StepLatencies(std::vector<double> seconds, double cpu_s)
    : sorted_s_(std::move(seconds)), cpu_s_(cpu_s) {
  std::ranges::sort(sorted_s_);
}

double StepLatencies::at_s(double quantile) const {
  const auto rank = static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(sorted_s_.size())));
  return sorted_s_[std::clamp<std::size_t>(rank, 1, sorted_s_.size()) - 1];
}

double StepLatencies::mean_s() const {
  return std::accumulate(sorted_s_.begin(), sorted_s_.end(), 0.0) / static_cast<double>(sorted_s_.size());
}

}  // namespace condensed::eval
