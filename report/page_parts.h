#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

namespace condensed::report {

// Pieces of the JSON that html_page() takes, for those who put a page together in C++.

struct Axis {
  std::string label;
  std::string scale = "linear";
  std::string unit = {};  // "bytes", "seconds" or none
  bool zero = true;       // a linear y begins at 0
};

/// {"label", "scale", "unit"?, "zero"?}
boost::json::object to_json(const Axis& axis);

/// A point; without a y, a gap.
boost::json::array point(double x, std::optional<double> y);

/// style: "line", "dots" or "bars".
boost::json::object series(const std::string& name, boost::json::array points,
                           const std::string& style = "line");

/// A vertical line across a chart.
boost::json::object mark_at_x(double x, const std::string& label);
/// A horizontal one.
boost::json::object mark_at_y(double y, const std::string& label);

boost::json::object chart(const std::string& id, const std::string& title, const Axis& x, const Axis& y,
                          boost::json::array series, boost::json::array marks = {});

/// rows: arrays as long as `columns`.
boost::json::object table(const std::vector<std::string>& columns, boost::json::array rows);

/// A section with a text and nothing else; its "table" and "chart" can be set. An empty heading or text is
/// left out.
boost::json::object section(const std::string& heading, const std::string& text = "");

}  // namespace condensed::report
