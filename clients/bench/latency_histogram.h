#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace condensed::bench {

/// How often each latency occurred, in HdrHistogram's published bucket layout, from 1 ns on with a relative
/// error of at most 10 to the power of -digits. It grows with the largest value recorded: 18 buckets, 147 kB,
/// hold 0.2 s at 3 digits. HdrHistogram_c itself is not packaged for Debian bookworm.
class LatencyHistogram {
 public:
  /// significant_digits: 1 to 5, else std::invalid_argument.
  explicit LatencyHistogram(int significant_digits = 3);

  /// Values in ns; a negative one counts as 0. n ≥ 0.
  void record(std::int64_t value_ns) { record_n(value_ns, 1); }
  void record_n(std::int64_t value_ns, std::int64_t n);
  /// Adds what the other has. Of other digits, its values are taken in the middle of their buckets.
  void merge(const LatencyHistogram& other);
  /// Empty again; keeps its memory.
  void clear();

  int significant_digits() const { return significant_digits_; }
  std::int64_t count() const { return total_; }
  bool empty() const { return total_ == 0; }

  // What HdrHistogram says: exact within the layout's error, and the same after encoding. 0 when empty.
  std::int64_t min() const;
  std::int64_t max() const;
  double mean() const;
  double standard_deviation() const;  // of all that was recorded
  /// The value that a share q of the recorded ones does not exceed; q is taken into 0 to 1.
  std::int64_t value_at_quantile(double q) const;
  /// How many are not above the value, those in the value's own bucket included.
  std::int64_t count_up_to(std::int64_t value_ns) const;

  /// A point of the percentile curve, as HdrHistogram's percentile iterator gives it.
  struct Percentile {
    double quantile = 0;  // 0 to 1
    std::int64_t value_ns = 0;
    std::int64_t count_up_to = 0;
  };
  /// Steps that halve towards 1 as often as the values tell apart, `ticks` of them in each half.
  std::vector<Percentile> percentiles(int ticks = 5) const;

  // The layout, for what reads and writes it.
  std::size_t bucket_count() const;  // of powers of two that the counts cover
  std::int64_t sub_bucket_count() const { return std::int64_t{1} << (half_magnitude_ + 1); }
  /// Counts by index, up to the largest value's.
  std::span<const std::int64_t> counts() const;
  /// Adds n, which is above 0, at an index of the layout below index_limit().
  void add_at(std::size_t index, std::int64_t n);
  /// The first index beyond every value of 63 bits.
  std::size_t index_limit() const;
  /// The largest value that the layout does not tell apart from the one given.
  std::int64_t highest_like(std::int64_t value_ns) const { return highest_at(index_of(value_ns)); }

 private:
  std::size_t index_of(std::int64_t value) const;
  std::int64_t lowest_at(std::size_t index) const;
  std::int64_t width_at(std::size_t index) const;
  std::int64_t highest_at(std::size_t index) const { return lowest_at(index) + (width_at(index) - 1); }
  std::int64_t median_at(std::size_t index) const { return lowest_at(index) + width_at(index) / 2; }
  void make_room(std::size_t index);

  int significant_digits_;
  int half_magnitude_;  // log2 of half the sub-buckets of a bucket
  std::vector<std::int64_t> counts_;
  std::int64_t total_ = 0;
  std::size_t lowest_index_ = 0;  // of what was recorded; meaningless when empty
  std::size_t highest_index_ = 0;
};

}  // namespace condensed::bench
