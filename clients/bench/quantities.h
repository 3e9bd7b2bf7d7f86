#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "clients/bench/statistics.h"

namespace condensed::bench {

/// One thing that reports are compared by.
struct Quantity {
  std::string name;  // "itl mean_ms"
  bool lower_is_better = true;
  std::optional<double> value;       // of the whole run
  std::optional<Estimate> estimate;  // from its parts; absent: there are too few
};

/// All that a report has, in an order that does not depend on it. First what has an estimate in some runs,
/// then what never has one, such as maxima: these are single events.
std::vector<Quantity> quantities_of(const boost::json::object& report);

}  // namespace condensed::bench
