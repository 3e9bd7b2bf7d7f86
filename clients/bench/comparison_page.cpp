#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clients/bench/comparison.h"
#include "clients/bench/lookup.h"
#include "clients/bench/run_charts.h"
#include "clients/condensectl/table.h"
#include "report/number_text.h"
#include "report/page_parts.h"

namespace condensed::bench {

namespace json = boost::json;

using report::formatted;

namespace {

/// "0.2931 ± 0.0004": as many digits as tell the two apart.
std::string with_interval(double value, std::optional<double> half_width) {
  if (!half_width) {
    return formatted("%.5g", value);
  }
  const double finest = *half_width > 0 ? std::floor(std::log10(*half_width)) - 1 : -3;
  const int decimals = static_cast<int>(std::clamp(-finest, 0.0, 9.0));
  const std::string format = "%." + std::to_string(decimals) + "f";
  return formatted(format.c_str(), value) + " ± " + formatted(format.c_str(), *half_width);
}

std::string value_text(const json::object& run) {
  const auto of_parts = number_at(run, "parts_mean");
  const auto value = of_parts ? of_parts : number_at(run, "value");
  return value ? with_interval(*value, number_at(run, "half_width")) : "-";
}

std::string change_text(const json::value& change) {
  if (!change.is_object()) {
    return "-";
  }
  const json::object& known = change.get_object();
  const auto percent = number_at(known, "percent");
  const std::string size = percent ? formatted("%+.2f%%", *percent)
                                   : formatted("%+.4g", number_at(known, "difference").value_or(0));
  const std::string said(known.at("verdict").as_string());
  return size + ", " + (said == "noise" ? "no more than noise" : said);
}

std::string text_of(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : value.is_null() ? "-" : json::serialize(value);
}

using Rows = std::vector<std::vector<std::string>>;

Rows quantity_rows(const json::object& comparison) {
  Rows rows(1, {""});
  const json::array& runs = array_at(comparison, "runs");
  for (std::size_t i = 0; i < runs.size(); ++i) {
    rows[0].push_back(text_of(runs[i]));
    if (i > 0) {
      rows[0].emplace_back("against " + text_of(runs[0]));
    }
  }
  for (const json::value& element : array_at(comparison, "quantities")) {
    const json::object& quantity = as_object(element);
    std::vector<std::string> row{text_of(quantity.at("name"))};
    for (std::size_t i = 0; i < runs.size(); ++i) {
      row.push_back(value_text(as_object(array_at(quantity, "runs")[i])));
      if (i > 0) {
        row.push_back(change_text(array_at(quantity, "changes")[i - 1]));
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Rows setting_rows(const json::object& comparison) {
  Rows rows(1, {"setting"});
  for (const json::value& run : array_at(comparison, "runs")) {
    rows[0].push_back(text_of(run));
  }
  for (const json::value& element : array_at(comparison, "differing_settings")) {
    const json::object& setting = as_object(element);
    rows.push_back({text_of(setting.at("setting"))});
    for (const json::value& value : array_at(setting, "values")) {
      rows.back().push_back(text_of(value));
    }
  }
  return rows;
}

/// What changed by more than noise, one line each.
std::vector<std::string> findings(const json::object& comparison) {
  std::vector<std::string> out;
  const json::array& runs = array_at(comparison, "runs");
  for (std::size_t i = 1; i < runs.size(); ++i) {
    for (const json::value& element : array_at(comparison, "quantities")) {
      const json::object& quantity = as_object(element);
      const json::value& change = array_at(quantity, "changes")[i - 1];
      if (change.is_object() && change.at("verdict") != "noise") {
        out.push_back(text_of(runs[i]) + ": " + text_of(quantity.at("name")) + " " + change_text(change));
      }
    }
  }
  return out;
}

json::object table_of(const Rows& rows) {
  json::array cells;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    cells.emplace_back(json::array(rows[i].begin(), rows[i].end()));
  }
  return report::table(rows[0], std::move(cells));
}

std::string how_to_read(const json::object& comparison) {
  const double percent = 100 * number_at(comparison, "confidence").value_or(0);
  return "The interval behind ± holds the true mean of the parts of a run with a confidence of " +
         formatted("%g%%", percent) +
         R"(, as far as the parts of that run tell. Percentiles with an interval are means of the parts' percentiles,
which are not quite those of the whole run; quantities without an interval are of the whole run.

A change is called one when its interval excludes 0, which is so wide that all changes together hold with that
confidence. What differs between two starts of the same daemon, or between two hours of the same machine, is not in
it: for that, run each side more than once.)";
}

}  // namespace

std::string comparison_table(const json::object& comparison) {
  std::string out = ctl::table(quantity_rows(comparison));
  const Rows settings = setting_rows(comparison);
  out +=
      settings.size() > 1 ? "\nset differently:\n" + ctl::table(settings) : "\nnothing was set differently\n";
  const std::vector<std::string> changed = findings(comparison);
  out += changed.empty() ? "\nnothing changed by more than noise\n" : "\nchanged by more than noise:\n";
  for (const std::string& line : changed) {
    out += "  " + line + "\n";
  }
  return out;
}

json::object comparison_page(const json::object& comparison, std::span<const NamedReport> runs) {
  json::array sections;
  std::string changed;
  for (const std::string& line : findings(comparison)) {
    changed += (changed.empty() ? "" : "\n\n") + line;
  }
  sections.push_back(report::section("Changed by more than noise", changed.empty() ? "Nothing." : changed));
  json::object quantities = report::section("Side by side", how_to_read(comparison));
  quantities["table"] = table_of(quantity_rows(comparison));
  sections.push_back(std::move(quantities));
  const Rows settings = setting_rows(comparison);
  json::object differing =
      report::section("Set differently", settings.size() > 1 ? "" : "Nothing that the reports tell.");
  if (settings.size() > 1) {
    differing["table"] = table_of(settings);
  }
  sections.push_back(std::move(differing));
  for (Chart (*draw)(std::span<const NamedReport>) :
       {percentile_chart, request_percentile_chart, position_chart, throughput_chart, latency_over_time_chart,
        requests_over_time_chart, resident_chart, cache_chart, batch_chart}) {
    if (Chart chart = draw(runs)) {
      json::object section = report::section(std::string(chart->at("title").as_string()));
      chart->at("title") = "All runs";
      section["chart"] = std::move(*chart);
      sections.push_back(std::move(section));
    }
  }
  json::object page;
  page["title"] = "condensed bench: " + std::to_string(runs.size()) + " runs compared";
  std::string names;
  for (const NamedReport& run : runs) {
    names += (names.empty() ? "" : ", ") + run.name;
  }
  page["subtitle"] = names;
  page["sections"] = std::move(sections);
  return page;
}

}  // namespace condensed::bench
