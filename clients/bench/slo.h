#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients/bench/figure.h"

namespace condensed::bench {

/// "20ms", "1.5s", "300us", "10m", "2h", or a number of seconds without a unit. Throws std::invalid_argument
/// that begins with `what` for anything else and for what is negative.
std::chrono::nanoseconds parsed_duration(std::string_view text, std::string_view what);

/// What a request must keep to be good: "ttft=200ms,itl=50ms".
class Slo {
 public:
  struct Limit {
    Figure figure;
    std::string name;
    std::chrono::nanoseconds at_most;
  };

  Slo() = default;
  /// Throws std::invalid_argument that says what it expected.
  explicit Slo(std::string_view text);

  const std::vector<Limit>& limits() const { return limits_; }
  std::optional<std::chrono::nanoseconds> limit(Figure figure) const;
  bool keeps(Figure figure, std::chrono::nanoseconds value) const;

 private:
  std::vector<Limit> limits_;
};

}  // namespace condensed::bench
