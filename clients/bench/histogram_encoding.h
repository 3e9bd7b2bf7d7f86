#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "clients/bench/latency_histogram.h"

namespace condensed::bench {

/// What was to be decoded is no histogram; says where it goes wrong.
class BadHistogram : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// HdrHistogram's V2 compressed encoding in base64, as HdrHistogram's own libraries read it.
std::string encoded(const LatencyHistogram& histogram);
/// The same back. Throws BadHistogram for anything else, for a lowest value other than 1 and for histograms
/// that were shifted.
LatencyHistogram decoded(std::string_view text);

/// HdrHistogram's percentile output (.hgrm), values in ms, as its plotters read it.
std::string percentile_text(const LatencyHistogram& histogram);

}  // namespace condensed::bench
