#include "report/html_page.h"

#include <limits>
#include <regex>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace condensed::report {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

json::object sample() {
  return json::parse(R"({
    "title": "A run", "subtitle": "of 5 tokens",
    "sections": [
      {"heading": "First", "text": "One.\n\nTwo.",
       "table": {"columns": ["name", "value"], "rows": [["a", 1], ["b", 2.5], ["c", null], ["d", true]]}},
      {"heading": "Second",
       "chart": {"id": "c1", "title": "A chart",
                 "x": {"label": "position", "scale": "linear"}, "y": {"label": "ms", "scale": "log"},
                 "series": [{"name": "p50", "points": [[1, 2], [2, null], [3, 4]]},
                            {"name": "means", "points": [[1, 2, 1, 3]], "style": "dots"}],
                 "marks": [{"x": 2, "label": "here"}, {"y": 3, "label": "limit"}]}}]})")
      .as_object();
}

/// The chart of sample().
json::object& chart(json::object& page) {
  return page["sections"].as_array()[1].as_object()["chart"].as_object();
}

/// What stands between `begin` and the next `end`.
std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t from = text.find(begin);
  if (from == std::string::npos) {
    return "no " + begin;
  }
  const std::size_t start = from + begin.size();
  return text.substr(start, text.find(end, start) - start);
}

/// Without all that stands between `begin` and the next `end`.
std::string without(std::string text, const std::string& begin, const std::string& end) {
  for (std::size_t from = text.find(begin); from != std::string::npos; from = text.find(begin, from)) {
    text.erase(from, text.find(end, from) + end.size() - from);
  }
  return text;
}

std::string embedded_json(const std::string& html) {
  return between(html, "<script type=\"application/json\" id=\"page\">", "</script>");
}

std::string refusal(const json::object& page) {
  try {
    html_page(page);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "none";
}

TEST(HtmlPage, ContainsTheJsonItWasMadeFrom) {
  const json::object page = sample();
  EXPECT_EQ(json::parse(embedded_json(html_page(page))), json::value(page));
}

TEST(HtmlPage, TextCannotBecomeMarkup) {
  json::object page = sample();
  const std::string hostile = "</script><script>alert(1)</script><!-- <b>&amp; </title>";
  page["title"] = hostile;
  page["sections"].as_array()[0].as_object()["heading"] = hostile;
  chart(page)["title"] = hostile;
  const std::string html = html_page(page);
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  EXPECT_EQ(between(html, "<title>", "</title>"),
            "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!-- &lt;b&gt;&amp;amp; &lt;/title&gt;");
  EXPECT_THAT(embedded_json(html), Not(HasSubstr("<")));
  EXPECT_EQ(json::parse(embedded_json(html)), json::value(page));
}

TEST(HtmlPage, NeedsNothingFromOutside) {
  const std::string html = html_page(sample());
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  // What scripts could load, the policy forbids; what is left is markup and style.
  const std::string loadable = without(without(html, "<script", "</script>"), "<!--", "-->");
  EXPECT_LT(loadable.size(), html.size() / 2);
  EXPECT_FALSE(
      std::regex_search(loadable, std::regex("\\bsrc=|\\bhref=|url\\(|@import|<link|<iframe|<img|https?:")));
  EXPECT_THAT(loadable, HasSubstr("prefers-color-scheme: dark"));
}

TEST(HtmlPage, ContainsD3AndItsLicence) {
  const std::string html = html_page(sample());
  EXPECT_THAT(html, HasSubstr("// https://d3js.org v5."));
  const std::string notice = between(html, "<!--", "-->");
  EXPECT_THAT(notice, HasSubstr("Mike Bostock"));
  EXPECT_THAT(notice, HasSubstr("Redistributions in binary form must reproduce the above copyright notice"));
  EXPECT_THAT(notice, Not(HasSubstr("--")));
}

TEST(HtmlPage, RefusesWhatItCannotDraw) {
  EXPECT_EQ(refusal(sample()), "none");

  json::object page = sample();
  page.erase("title");
  EXPECT_EQ(refusal(page), "the page's object.title is missing; it should be a string");

  page = sample();
  chart(page)["x"].as_object()["scale"] = "cubic";
  EXPECT_EQ(
      refusal(page),
      "the page's object.sections[1].chart.x.scale is \"cubic\"; it should be one of linear, log, quantile, "
      "band");

  page = sample();
  chart(page)["y"].as_object()["scale"] = "quantile";
  EXPECT_THAT(refusal(page), HasSubstr("chart.y.scale is \"quantile\"; it should be one of linear, log"));

  page = sample();
  chart(page)["series"].as_array()[0].as_object()["points"].as_array()[1] = {1.0};
  EXPECT_THAT(refusal(page),
              HasSubstr("series[0].points[1] is [1E0]; it should be [x, y] or [x, y, low, high]"));

  page = sample();
  page["sections"].as_array()[0].as_object()["table"].as_object()["rows"].as_array()[1] = {"b"};
  EXPECT_THAT(refusal(page),
              HasSubstr("table.rows[1] is [\"b\"]; it should be as long as the list of columns"));
}

TEST(HtmlPage, RefusesNumbersThatJsonDoesNotHave) {
  json::object page = sample();
  chart(page)["series"].as_array()[0].as_object()["points"].as_array()[0].as_array()[1] =
      std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(refusal(page), HasSubstr("series[0].points[0][1]"));
  EXPECT_THAT(refusal(page), HasSubstr("it should be a finite number"));
}

TEST(HtmlPage, RefusesTwoChartsOfOneName) {
  json::object page = sample();
  page["sections"].as_array().push_back(page["sections"].as_array()[1]);
  EXPECT_THAT(refusal(page), HasSubstr("sections[2].chart.id is \"c1\""));
}

TEST(HtmlPage, BandsAreNamed) {
  json::object page = sample();
  chart(page)["x"].as_object()["scale"] = "band";
  EXPECT_THAT(refusal(page), HasSubstr("points[0][0] is 1; it should be a string"));
  chart(page)["series"] =
      json::parse(R"([{"name": "bars", "points": [["w=2", 1.5], ["plain", 2]], "style": "bars"}])");
  EXPECT_EQ(refusal(page), "none");
}

}  // namespace
}  // namespace condensed::report
