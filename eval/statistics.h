#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <boost/json.hpp>

namespace condensed::eval {

/// A measured value, and the interval that would hold the true one in 95 of 100 repetitions.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

/// The mean of values drawn independently of each other (Student's t). A single one says nothing of its
/// spread: the interval is infinite. values: at least one.
Estimate estimate_mean(std::span<const double> values);

/// A share of n independent trials (Wilson's interval, sensible also at 0 and 1). Trials may be right in
/// part: the interval is then wider than it need be. share: in [0, 1]; n: at least one.
Estimate estimate_share(double share, std::size_t n);

double mean(std::span<const double> values);

/// Means of n consecutive parts of equal length but for one (fewer parts if there are fewer values): nearly
/// independent where single values are not.
std::vector<double> batch_means(std::span<const double> values, std::size_t n);

/// [low, high]; null for an end that is infinite.
boost::json::array interval_json(const Estimate& estimate);

}  // namespace condensed::eval
