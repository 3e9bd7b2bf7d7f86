#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace condensed::ctl {

/// Observations by size. Only what is above `bound` of one bucket and not above that of the next is in the
/// next; the last bound is infinite.
struct Histogram {
  struct Bucket {
    double bound = 0;
    double count = 0;  // of observations up to the bound, smaller buckets included
  };

  std::vector<Bucket> buckets;  // bounds ascending
  double sum = 0;               // of all observations

  double count() const { return buckets.empty() ? 0 : buckets.back().count; }
};

/// What was observed after `earlier` and up to `later`, two readings of one histogram. An empty `earlier`
/// stands for one without observations.
Histogram difference(const Histogram& later, const Histogram& earlier);

/// The size that a share q (0 to 1) of the observations does not exceed, taken to be spread evenly inside
/// each bucket, as Prometheus' histogram_quantile() does; for the last bucket its lower bound. None without
/// observations.
std::optional<double> quantile(const Histogram& histogram, double q);
std::optional<double> mean(const Histogram& histogram);

/// One reading of Prometheus' text format.
class Exposition {
 public:
  using Labels = std::map<std::string, std::string>;

  Exposition() = default;
  /// Throws std::runtime_error showing the line that is no sample.
  explicit Exposition(std::string_view text);

  /// The sum of all series of this name that have these labels (and maybe others); 0 if there is none.
  double sum(std::string_view name, const Labels& labels = {}) const;
  /// All series of this histogram together.
  Histogram histogram(const std::string& name) const;

 private:
  struct Sample {
    Labels labels;
    double value = 0;
  };
  std::multimap<std::string, Sample, std::less<>> samples_;
};

}  // namespace condensed::ctl
