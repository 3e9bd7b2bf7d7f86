#pragma once

#include <vector>

#include <boost/json.hpp>

namespace condensed::eval {

/// How long steps took.
class StepLatencies {
 public:
  /// seconds: at least one step, in any order.
  explicit StepLatencies(std::vector<double> seconds);

  /// The smallest that a share `quantile` of the steps does not exceed.
  double at_s(double quantile) const;
  double mean_s() const;

  /// In milliseconds: mean, p50, p90, p99, p99.9, max.
  boost::json::object to_json() const;

 private:
  std::vector<double> sorted_s_;
};

}  // namespace condensed::eval
