#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

namespace condensed::eval {

namespace {
constexpr double kUpperTail = 0.975;  // of an interval of 95%
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Estimate estimate_mean(std::span<const double> values) {
  const double value = mean(values);
  if (values.size() < 2) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return {value, -kInfinity, kInfinity};
  }
  double squares = 0;
  for (const double v : values) {
    squares += (v - value) * (v - value);
  }
  const auto n = static_cast<double>(values.size());
  const double t = boost::math::quantile(boost::math::students_t(n - 1), kUpperTail);
  const double half = t * std::sqrt(squares / (n - 1) / n);
  return {value, value - half, value + half};
}

Estimate estimate_share(double share, std::size_t n_trials) {
  const double z = boost::math::quantile(boost::math::normal(), kUpperTail);
  const auto n = static_cast<double>(n_trials);
  const double centre = (share + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  return {share, std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

std::vector<double> batch_means(std::span<const double> values, std::size_t n) {
  n = std::min(n, values.size());
  std::vector<double> means;
  for (std::size_t part = 0; part < n; ++part) {
    const std::size_t first = values.size() * part / n;
    means.push_back(mean(values.subspan(first, values.size() * (part + 1) / n - first)));
  }
  return means;
}

boost::json::array interval_json(const Estimate& estimate) {
  boost::json::array ends;
  for (const double end : {estimate.low, estimate.high}) {
    ends.push_back(std::isfinite(end) ? boost::json::value(end) : boost::json::value(nullptr));
  }
  return ends;
}

}  // namespace condensed::eval
