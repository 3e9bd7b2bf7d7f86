#pragma once

#include <string>

#include <boost/json.hpp>

namespace condensed::report {

/// One HTML file that needs nothing else, no network either: tables, and charts drawn by d3, from
///
///   {"title", "subtitle"?, "sections": [section, ...]}
///
/// A section is {"heading"?, "text"?, "table"?, "chart"?}; blank lines part paragraphs of a text.
///   table: {"columns": ["..."], "rows": [[string, number, boolean or null, ...], ...]}
///   chart: {"id", "title", "x": axis, "y": axis, "series": [series, ...], "marks"?: [mark, ...]}
///   axis: {"label", "scale": "linear", "log", "quantile" (for x: a share q of 1, drawn at log 1/(1 - q)) or
///   "band"
///          (for x: names), "unit"?: "bytes" or "seconds" (how ticks are written), "zero"?: false (a linear y
///          need not begin at 0)}
///   series: {"name", "points": [[x, y], ...], "style"?: "line" (default), "dots" or "bars"}; points of a
///   line in
///           ascending order of x. A y of null is a gap. [x, y, low, high] draws an interval around y, too.
///   mark: {"x" or "y": number, "label"}, a line across the chart
///
/// The same JSON stands in the page as <script type="application/json" id="page">.
/// Throws std::invalid_argument saying where `page` is not like that.
std::string html_page(const boost::json::object& page);

}  // namespace condensed::report
