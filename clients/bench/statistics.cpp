#include "clients/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <boost/math/distributions/students_t.hpp>

namespace condensed::bench {

namespace {

/// How much each part resembles the one before, from 0 (not, or the opposite) to just below 1.
double resemblance(std::span<const double> residuals) {
  double beside = 0;
  double all = 0;
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    all += residuals[i] * residuals[i];
    beside += i > 0 ? residuals[i] * residuals[i - 1] : 0;
  }
  constexpr double kMost = 0.95;
  return all > 0 ? std::clamp(beside / all, 0.0, kMost) : 0;
}

}  // namespace

double Estimate::half_width(double confidence) const {
  if (standard_error == 0) {
    return 0;
  }
  const boost::math::students_t_distribution<double> t(degrees_of_freedom);
  return standard_error * boost::math::quantile(t, (1 + confidence) / 2);
}

std::optional<Estimate> estimated(std::span<const Part> parts) {
  if (parts.size() < kFewestParts) {
    return std::nullopt;
  }
  const auto k = static_cast<double>(parts.size());
  double weight = 0;
  double sum = 0;
  for (const Part& part : parts) {
    weight += part.weight;
    sum += part.weight * part.value;
  }
  const double mean = sum / weight;
  // A ratio of two sums, of values and of weights; with equal weights this is the plain mean of parts.
  std::vector<double> residuals;
  double squares = 0;
  for (const Part& part : parts) {
    residuals.push_back(part.weight / (weight / k) * (part.value - mean));
    squares += residuals.back() * residuals.back();
  }
  // As many independent parts as parts whose neighbours resemble each other by r are worth.
  const double r = resemblance(residuals);
  const double worth = k * (1 - r) / (1 + r);
  return Estimate{.value = mean,
                  .standard_error = std::sqrt(squares / (k - 1) / worth),
                  .degrees_of_freedom = std::max(1.0, worth - 1),
                  .parts = parts.size()};
}

Estimate difference(const Estimate& later, const Estimate& earlier) {
  const double a = earlier.standard_error * earlier.standard_error;
  const double b = later.standard_error * later.standard_error;
  const double spread = a * a / earlier.degrees_of_freedom + b * b / later.degrees_of_freedom;
  return {.value = later.value - earlier.value,
          .standard_error = std::sqrt(a + b),
          .degrees_of_freedom = spread > 0 ? (a + b) * (a + b) / spread : 1,
          .parts = std::min(earlier.parts, later.parts)};
}

}  // namespace condensed::bench
