#pragma once

#include <optional>
#include <string_view>

#include <boost/json.hpp>

namespace condensed::bench {

// Members of a report that may be absent or null: another version or scenario may have written it.

/// Nothing if there is none, or no number.
std::optional<double> number_at(const boost::json::object& object, std::string_view key);
/// A statistic of a figure, such as "p99" of "itl", in ms. Nothing either for a percentile of fewer
/// observations than it takes for one to lie beyond it: that is the maximum by another name.
std::optional<double> statistic_ms(const boost::json::object& report, std::string_view statistic,
                                   std::string_view figure);
/// An empty one if there is none.
const boost::json::object& object_at(const boost::json::object& object, std::string_view key);
const boost::json::array& array_at(const boost::json::object& object, std::string_view key);
/// The objects among an array's elements are all that is of use there; anything else is an empty one.
const boost::json::object& as_object(const boost::json::value& value);

}  // namespace condensed::bench
