#include "clients/bench/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace condensed::bench {

namespace {

/// log2 of half of as many sub-buckets as tell values apart to so many digits.
int half_magnitude_for(int digits) {
  if (digits < 1 || digits > 5) {
    throw std::invalid_argument("a histogram has 1 to 5 significant digits, not " + std::to_string(digits));
  }
  const auto needed = static_cast<std::uint64_t>(2 * std::pow(10, digits));
  return static_cast<int>(std::bit_width(needed - 1)) - 1;
}

}  // namespace

LatencyHistogram::LatencyHistogram(int significant_digits)
    : significant_digits_(significant_digits), half_magnitude_(half_magnitude_for(significant_digits)) {}

std::size_t LatencyHistogram::index_of(std::int64_t value) const {
  const std::uint64_t mask = (std::uint64_t{2} << half_magnitude_) - 1;
  const auto bits = static_cast<std::uint64_t>(value);
  const int bucket = static_cast<int>(std::bit_width(bits | mask)) - (half_magnitude_ + 1);
  // The lower half of every bucket but the first is that of the buckets before.
  return (static_cast<std::size_t>(bucket) << half_magnitude_) + static_cast<std::size_t>(bits >> bucket);
}

std::int64_t LatencyHistogram::width_at(std::size_t index) const {
  const std::size_t bucket = index >> half_magnitude_;
  return std::int64_t{1} << (bucket > 0 ? bucket - 1 : 0);
}

std::int64_t LatencyHistogram::lowest_at(std::size_t index) const {
  const std::size_t half = std::size_t{1} << half_magnitude_;
  const std::size_t bucket = index >> half_magnitude_;
  return bucket == 0 ? static_cast<std::int64_t>(index)
                     : static_cast<std::int64_t>((index & (half - 1)) + half) << (bucket - 1);
}

std::size_t LatencyHistogram::index_limit() const {
  return index_of(std::numeric_limits<std::int64_t>::max()) + 1;
}

void LatencyHistogram::make_room(std::size_t index) {
  if (index >= counts_.size()) {
    counts_.resize(((index >> half_magnitude_) + 1) << half_magnitude_);
  }
}

void LatencyHistogram::add_at(std::size_t index, std::int64_t n) {
  make_room(index);
  counts_[index] += n;
  lowest_index_ = total_ == 0 ? index : std::min(lowest_index_, index);
  highest_index_ = total_ == 0 ? index : std::max(highest_index_, index);
  total_ += n;
}

void LatencyHistogram::record_n(std::int64_t value_ns, std::int64_t n) {
  if (n > 0) {
    add_at(index_of(std::max<std::int64_t>(value_ns, 0)), n);
  }
}

void LatencyHistogram::merge(const LatencyHistogram& other) {
  const std::span<const std::int64_t> counts = other.counts();
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) {
      continue;
    }
    if (other.significant_digits_ == significant_digits_) {
      add_at(i, counts[i]);
    } else {
      record_n(other.median_at(i), counts[i]);
    }
  }
}

void LatencyHistogram::clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  total_ = 0;
}

std::int64_t LatencyHistogram::min() const {
  return empty() ? 0 : lowest_at(lowest_index_);
}

std::int64_t LatencyHistogram::max() const {
  return empty() ? 0 : highest_at(highest_index_);
}

double LatencyHistogram::mean() const {
  if (empty()) {
    return 0;
  }
  double sum = 0;
  for (std::size_t i = lowest_index_; i <= highest_index_; ++i) {
    sum += static_cast<double>(counts_[i]) * static_cast<double>(median_at(i));
  }
  return sum / static_cast<double>(total_);
}

double LatencyHistogram::standard_deviation() const {
  if (empty()) {
    return 0;
  }
  const double middle = mean();
  double squares = 0;
  for (std::size_t i = lowest_index_; i <= highest_index_; ++i) {
    const double distance = static_cast<double>(median_at(i)) - middle;
    squares += static_cast<double>(counts_[i]) * distance * distance;
  }
  return std::sqrt(squares / static_cast<double>(total_));
}

std::int64_t LatencyHistogram::value_at_quantile(double q) const {
  if (empty()) {
    return 0;
  }
  // One step down, so that a product rounded up does not ask for one more than it means.
  const double share = std::nextafter(std::clamp(q, 0.0, 1.0), 0.0);
  const auto wanted = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(total_)));
  std::size_t index = lowest_index_;
  for (std::int64_t seen = counts_[index]; seen < wanted && index < highest_index_;) {
    seen += counts_[++index];
  }
  return q <= 0 ? lowest_at(index) : highest_at(index);
}

std::int64_t LatencyHistogram::count_up_to(std::int64_t value_ns) const {
  const std::span<const std::int64_t> all = counts();
  const std::size_t end = value_ns < 0 ? 0 : std::min(all.size(), index_of(value_ns) + 1);
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < end; ++i) {
    sum += all[i];
  }
  return sum;
}

std::vector<LatencyHistogram::Percentile> LatencyHistogram::percentiles(int ticks) const {
  std::vector<Percentile> out;
  if (empty()) {
    return out;
  }
  std::int64_t seen = 0;
  double level = 0;  // in percent, as HdrHistogram counts: the roundings are its own
  for (std::size_t i = lowest_index_; i <= highest_index_; ++i) {
    seen += counts_[i];
    while (counts_[i] > 0 && 100.0 * static_cast<double>(seen) / static_cast<double>(total_) >= level &&
           (seen < total_ || out.empty() || out.back().count_up_to < total_)) {
      out.push_back({.quantile = level / 100, .value_ns = highest_at(i), .count_up_to = seen});
      const double halvings = std::floor(std::log2(100 / (100 - level))) + 1;
      level += 100 / (ticks * std::exp2(halvings));
    }
  }
  out.push_back({.quantile = 1, .value_ns = max(), .count_up_to = total_});
  return out;
}

std::size_t LatencyHistogram::bucket_count() const {
  return std::max<std::size_t>(1, (counts_.size() >> half_magnitude_) - (counts_.empty() ? 0 : 1));
}

std::span<const std::int64_t> LatencyHistogram::counts() const {
  return empty() ? std::span<const std::int64_t>() : std::span(counts_).first(highest_index_ + 1);
}

}  // namespace condensed::bench
