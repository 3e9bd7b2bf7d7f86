#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace condensed::bench {

/// What a consecutive part of a run says of a quantity, and how much of the run it stands for.
struct Part {
  double weight = 0;  // observations or seconds; above 0
  double value = 0;
};

/// A quantity and how sure a run makes of it.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  double degrees_of_freedom = 0;
  std::size_t parts = 0;

  /// The true value is within value ± half_width() with this confidence (0 to 1), by Student's t.
  double half_width(double confidence) const;
};

/// Fewer parts say nothing about noise.
constexpr std::size_t kFewestParts = 10;

/// The weighted mean, its error from how parts differ (batch means). Parts that resemble their neighbours
/// tell less than as many independent ones: the error is widened for that. Nothing for fewer than
/// kFewestParts.
std::optional<Estimate> estimated(std::span<const Part> parts);

/// later - earlier, of two runs that know nothing of each other (Welch).
Estimate difference(const Estimate& later, const Estimate& earlier);

}  // namespace condensed::bench
