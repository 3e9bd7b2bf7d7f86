#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace condensed::bench {

/// When a request is due, and what is known of it.
struct Arrival {
  std::chrono::nanoseconds after_start{};
  std::optional<std::int64_t> output_tokens;  // absent: whoever runs it decides
};

/// When requests are due, one after another, whether those before have been answered or not.
class ArrivalTimes {
 public:
  virtual ~ArrivalTimes() = default;
  /// The next one, not before the one before it; nothing when there are no more.
  virtual std::optional<Arrival> next() = 0;
};

/// So many a second on average, independent of each other. per_second > 0. The same seed gives the same
/// times.
class PoissonArrivals final : public ArrivalTimes {
 public:
  PoissonArrivals(double per_second, std::uint64_t seed) : random_(seed), gap_s_(per_second) {}
  std::optional<Arrival> next() override;

 private:
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_s_;
  double at_s_ = 0;
};

/// Those of a trace: lines "SECONDS [OUTPUT_TOKENS]", in order of time, empty ones and those that begin with
/// # left out. After the last one there are no more.
class TraceArrivals final : public ArrivalTimes {
 public:
  /// Throw std::invalid_argument, naming file and line, for anything else, and for a trace without arrivals.
  static TraceArrivals from_file(const std::string& path);
  static TraceArrivals parse(std::string_view text, const std::string& source);

  std::optional<Arrival> next() override;

 private:
  std::vector<Arrival> all_;
  std::size_t next_ = 0;
};

}  // namespace condensed::bench
