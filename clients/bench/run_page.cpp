#include "clients/bench/run_page.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "clients/bench/lookup.h"
#include "clients/bench/run_charts.h"
#include "report/number_text.h"
#include "report/page_parts.h"

namespace condensed::bench {

namespace json = boost::json;

using report::formatted;

namespace {

constexpr std::size_t kListedStalls = 100;

json::value value_at(const json::object& object, std::string_view key) {
  const auto number = number_at(object, key);
  return number ? json::value(*number) : json::value();
}

std::string text_at(const json::object& object, std::string_view key) {
  const json::value* const found = object.if_contains(key);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

/// What a cell of a table shows of any value.
json::value cell(const json::value& value) {
  return value.is_structured() ? json::value(json::serialize(value)) : value;
}

json::array row(std::initializer_list<json::value> cells) {
  json::array out;
  for (const json::value& each : cells) {
    out.push_back(each);
  }
  return out;
}

/// Figures are known by what was counted of them.
json::object figures_table(const json::object& report) {
  const std::vector<std::string> statistics{"mean", "std", "p50", "p90", "p99", "p99.9", "p99.99", "max"};
  std::vector<std::string> columns{"ms", "count"};
  columns.insert(columns.end(), statistics.begin(), statistics.end());
  json::array rows;
  for (const auto& [name, histogram] : object_at(report, "histograms")) {
    json::array cells = row({json::value(name), value_at(as_object(histogram), "count")});
    for (const std::string& statistic : statistics) {
      const auto value = statistic_ms(report, statistic, name);
      cells.push_back(value ? json::value(*value) : json::value());
    }
    rows.push_back(std::move(cells));
  }
  return report::table(columns, std::move(rows));
}

json::object totals_table(const json::object& report) {
  constexpr std::array kTotals{
      std::pair("duration", "measured, s"),
      std::pair("completed", "requests completed"),
      std::pair("failed", "requests failed"),
      std::pair("total_input_tokens", "tokens read"),
      std::pair("total_output_tokens", "tokens generated"),
      std::pair("request_throughput", "requests/s"),
      std::pair("output_throughput", "tokens generated/s"),
      std::pair("total_token_throughput", "tokens read and generated/s"),
      std::pair("request_goodput", "requests within the limits/s"),
      std::pair("token_goodput", "tokens within the limits/s"),
      std::pair("good_token_share", "share of tokens within the limits"),
  };
  json::array rows;
  for (const auto& [key, name] : kTotals) {
    if (number_at(report, key)) {
      rows.push_back(row({json::value(name), value_at(report, key)}));
    }
  }
  for (const auto& [code, count] : object_at(report, "errors")) {
    rows.push_back(row({json::value("failed with " + std::string(code)), cell(count)}));
  }
  return report::table({"", "total"}, std::move(rows));
}

/// Adds "step_ms 80.2, prompt_rows 32, ...", without what is zero or takes next to nothing of the stall.
void describe(const json::object& account, const std::string& prefix, double least_ms, std::string& out) {
  for (const auto& [key, value] : account) {
    const std::string name = prefix + std::string(key);
    if (value.is_object()) {
      describe(value.get_object(), name + " ", least_ms, out);
      continue;
    }
    const double number = value.is_number() ? value.to_number<double>() : 0;
    if (number > (key.ends_with("_ms") ? least_ms : 0)) {
      out += (out.empty() ? "" : ", ") + name + " " + formatted("%.6g", number);
    }
  }
}

std::string described_account(const json::object& stall) {
  constexpr double kLeastShare = 0.01;
  std::string out;
  describe(object_at(stall, "account"), "", kLeastShare * number_at(stall, "itl_ms").value_or(0), out);
  return out.empty() ? "none" : out;
}

json::object stalls_section(const json::object& report, Chart chart) {
  const json::object& stalls = object_at(report, "stalls");
  const json::array& listed = array_at(stalls, "listed");
  std::vector<const json::object*> longest;
  for (const json::value& stall : listed) {
    longest.push_back(&as_object(stall));
  }
  std::stable_sort(longest.begin(), longest.end(), [](const json::object* a, const json::object* b) {
    return number_at(*a, "itl_ms") > number_at(*b, "itl_ms");
  });
  longest.resize(std::min(longest.size(), kListedStalls));
  json::array rows;
  for (const json::object* stall : longest) {
    rows.push_back(
        row({value_at(*stall, "t_s"), json::value(text_at(*stall, "session")), value_at(*stall, "position"),
             value_at(*stall, "itl_ms"), json::value(described_account(*stall))}));
  }
  const std::string threshold = formatted("%g ms", number_at(stalls, "threshold_ms").value_or(0));
  json::object out = report::section(
      "Stalls", formatted("%.0f tokens came more than ", number_at(stalls, "count").value_or(0)) + threshold +
                    " after the one before" +
                    (rows.empty() ? "." : "; the longest, with the daemon's own account of them:"));
  if (chart) {
    out["chart"] = std::move(*chart);
  }
  if (!rows.empty()) {
    out["table"] = report::table({"time, s", "session", "position", "latency, ms", "the daemon's account"},
                                 std::move(rows));
  }
  return out;
}

/// The same figures as both sides measured them.
json::object sides_section(const json::object& report) {
  const json::object& daemon = object_at(report, "daemon_side");
  json::array rows;
  for (const char* figure : {"itl", "ttft"}) {
    const json::object& its = object_at(daemon, figure);
    for (const auto& [key, client_key] :
         {std::pair<std::string, std::string>("mean_ms", "mean_"), {"p50_ms", "p50_"}, {"p99_ms", "p99_"}}) {
      const auto ours = number_at(report, client_key + figure + "_ms");
      const auto theirs = number_at(its, key);
      if (ours && theirs) {
        rows.push_back(row({json::value(std::string(figure) + " " + key), json::value(*ours),
                            json::value(*theirs), json::value(*ours - *theirs)}));
      }
    }
  }
  std::string text =
      "The daemon measures the means exactly; its percentiles are read off its metrics' buckets and are only "
      "as "
      "fine as these.";
  const json::object& overhead = object_at(report, "overhead");
  const auto own_ns = number_at(overhead, "ns_per_token");
  const auto share = number_at(overhead, "share_of_step");
  if (own_ns && share) {
    text += " This tool spent " + formatted("%.0f", *own_ns) + " ns on each token, " +
            formatted("%.2f%% of a step.", 100 * *share);
  }
  json::object out = report::section("Daemon against client", text);
  out["table"] = report::table({"", "client", "daemon", "difference"}, std::move(rows));
  return out;
}

json::object daemon_section(const json::object& report) {
  json::array rows;
  for (const auto& [key, value] : object_at(report, "daemon_side")) {
    if (value.is_number()) {
      rows.push_back(row({json::value(key), value}));
    }
  }
  const json::object& step = object_at(object_at(report, "daemon_side"), "step");
  for (const auto& [key, value] : step) {
    rows.push_back(row({json::value("step " + std::string(key)), cell(value)}));
  }
  json::object out = report::section("The daemon's own figures");
  out["table"] = report::table({"", "over the run"}, std::move(rows));
  return out;
}

void flatten(const json::object& values, const std::string& prefix, json::array& rows) {
  for (const auto& [key, value] : values) {
    const std::string name = prefix.empty() ? std::string(key) : prefix + " " + std::string(key);
    if (value.is_object()) {
      flatten(value.get_object(), name, rows);
    } else {
      rows.push_back(row({json::value(name), cell(value)}));
    }
  }
}

/// What only this scenario knows, under its name.
void add_scenario(json::array& sections, const json::object& report) {
  json::array rows;
  flatten(object_at(report, text_at(report, "scenario")), "", rows);
  if (!rows.empty()) {
    json::object section = report::section("Scenario");
    section["table"] = report::table({"", "over the run"}, std::move(rows));
    sections.push_back(std::move(section));
  }
}

void add_chart(json::array& sections, const std::string& heading, const std::string& text, Chart chart) {
  if (chart) {
    json::object section = report::section(heading, text);
    section["chart"] = std::move(*chart);
    sections.push_back(std::move(section));
  }
}

json::array sections_of(const json::object& report) {
  const std::array<NamedReport, 1> runs{NamedReport{"", report}};
  json::array sections;
  json::object totals = report::section("Totals");
  totals["table"] = totals_table(report);
  sections.push_back(std::move(totals));
  add_scenario(sections, report);
  json::object figures = report::section(
      "Latencies",
      "Percentiles that too few observations lie beyond are left out: they would be the maximum.");
  figures["table"] = figures_table(report);
  sections.push_back(std::move(figures));
  add_chart(sections, "Latency over position",
            "Each point stands for a bin of positions and is drawn in its middle.", position_chart(runs));
  add_chart(
      sections, "Percentiles",
      "Each step to the right is ten times rarer. The largest value of all is in the table above: it has no "
      "place on this axis.",
      percentile_chart(runs));
  add_chart(sections, "", "", request_percentile_chart(runs));
  add_chart(sections, "Over time", "", throughput_chart(runs));
  add_chart(sections, "", "", latency_over_time_chart(runs));
  add_chart(sections, "", "", requests_over_time_chart(runs));
  add_chart(sections, "", "", batch_chart(runs));
  add_chart(sections, "", "", evictions_chart(runs));
  add_chart(sections, "", "", sessions_chart(runs));
  add_chart(sections, "Memory", "", resident_chart(runs));
  add_chart(sections, "", "", cache_chart(runs));
  sections.push_back(stalls_section(report, stalls_chart(runs)));
  sections.push_back(sides_section(report));
  sections.push_back(daemon_section(report));
  json::object settings = report::section("Settings");
  settings["table"] = report::table({"setting", "value"}, flat_settings(report));
  sections.push_back(std::move(settings));
  return sections;
}

}  // namespace

json::array flat_settings(const json::object& report) {
  json::array rows;
  for (const auto& [side, settings] : object_at(report, "settings")) {
    flatten(as_object(settings), std::string(side), rows);
  }
  return rows;
}

json::object run_page(const json::object& report) {
  json::object page;
  page["title"] = "condensed bench: " + text_at(report, "scenario");
  page["subtitle"] = "started at " + text_at(report, "started_at") + ", seed " +
                     json::serialize(report.contains("seed") ? report.at("seed") : json::value()) + ", " +
                     text_at(report, "ended");
  page["sections"] = sections_of(report);
  return page;
}

}  // namespace condensed::bench
