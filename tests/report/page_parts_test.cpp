#include "report/page_parts.h"

#include <gtest/gtest.h>

#include "report/html_page.h"

namespace condensed::report {
namespace {

namespace json = boost::json;

TEST(PageParts, MakeWhatPagesConsistOf) {
  json::array points;
  points.push_back(point(1, 2.5));
  points.push_back(point(2, std::nullopt));
  json::array all;
  all.push_back(series("p50", std::move(points)));
  json::array marks;
  marks.push_back(mark_at_x(1.5, "here"));
  marks.push_back(mark_at_y(20, "limit"));
  json::object part = section("Latency", "Of tokens.");
  part["chart"] =
      chart("itl", "By position", {.label = "position", .scale = "log"},
            {.label = "memory", .unit = "bytes", .zero = false}, std::move(all), std::move(marks));
  json::array row;
  row.emplace_back("a");
  row.emplace_back(1);
  json::array rows;
  rows.push_back(std::move(row));
  part["table"] = table({"name", "value"}, std::move(rows));

  EXPECT_EQ(json::value(part), json::parse(R"({
    "heading": "Latency", "text": "Of tokens.",
    "chart": {"id": "itl", "title": "By position", "x": {"label": "position", "scale": "log"},
              "y": {"label": "memory", "scale": "linear", "unit": "bytes", "zero": false},
              "series": [{"name": "p50", "points": [[1.0, 2.5], [2.0, null]], "style": "line"}],
              "marks": [{"x": 1.5, "label": "here"}, {"y": 20.0, "label": "limit"}]},
    "table": {"columns": ["name", "value"], "rows": [["a", 1]]}})"));

  json::object page;
  page["title"] = "A run";
  page["sections"] = json::array{part};
  EXPECT_NO_THROW(html_page(page));
}

}  // namespace
}  // namespace condensed::report
