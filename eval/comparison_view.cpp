// How a comparison is shown: a table on the terminal, a page with plots.

#include <cstdio>

#include "eval/comparison.h"
#include "eval/report_sections.h"
#include "report/number_text.h"
#include "report/page_parts.h"

namespace condensed::eval {

namespace json = boost::json;

using report::formatted;

namespace {

/// "1.0012 (1.0003 to 1.0021)", as far as it is known.
std::string ratio_text(const json::object& cache) {
  const json::value* difference = cache.if_contains("against_first");
  if (difference == nullptr || difference->is_null()) {
    return difference == nullptr ? "" : "no tokens in common";
  }
  const json::object& against = difference->as_object();
  const json::array& ends = against.at("perplexity_ratio_95").as_array();
  std::string ratio = formatted("%.4f", against.at("perplexity_ratio").as_double());
  if (ends[0].is_null() || ends[1].is_null()) {
    return ratio;
  }
  return ratio + " (" + formatted("%.4f", ends[0].as_double()) + " to " +
         formatted("%.4f", ends[1].as_double()) + ")";
}

std::string text_of(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::serialize(value);
}

json::array table_rows(const json::object& report) {
  json::array rows;
  for (const json::value& value : report.at("caches").as_array()) {
    const json::object& cache = value.as_object();
    const json::value& bits = cache.at("bits_per_byte");
    rows.push_back(json::array{cache.at("name"), text_of(cache.at("tokens")),
                               formatted("%.3f", cache.at("perplexity").as_double()),
                               bits.is_null() ? "" : formatted("%.4f", bits.as_double()), ratio_text(cache)});
  }
  return rows;
}

void print_table(const json::object& report) {
  std::printf("%s, %s: %s tokens, %s weights, %s cache\n", text_of(report.at("model")).c_str(),
              text_of(report.at("text")).c_str(), text_of(report.at("tokens")).c_str(),
              text_of(report.at("weights")).c_str(), text_of(report.at("cache_dtype")).c_str());
  std::printf("%-28s %10s %12s %10s   %s\n", "cache", "tokens", "perplexity", "bits/byte",
              "over the first's, on the same tokens (95% interval)");
  for (const json::value& value : table_rows(report)) {
    const json::array& row = value.as_array();
    std::printf("%-28s %10s %12s %10s   %s\n", row[0].as_string().c_str(), row[1].as_string().c_str(),
                row[2].as_string().c_str(), row[3].as_string().c_str(), row[4].as_string().c_str());
  }
  std::fflush(stdout);
}

/// One line for each cache: mean loss over position, in the middle of each part.
json::array lines(const json::object& report, std::string_view parts) {
  json::array series;
  for (const json::value& value : report.at("caches").as_array()) {
    const json::object& cache = value.as_object();
    json::array points;
    for (const json::value& part : cache.at(parts).as_array()) {
      const double begin = part.at("position").to_number<double>();
      const double length = parts == "parts" ? report.at("every").to_number<double>() : begin / 2;
      const json::value* adjusted = part.as_object().if_contains("nll_adjusted");
      points.push_back(json::array{begin + length / 2, adjusted != nullptr ? *adjusted : part.at("nll")});
    }
    series.push_back(report::series(text_of(cache.at("name")), std::move(points)));
  }
  return series;
}

json::array sections(const json::object& report) {
  const report::Axis loss{.label = "log perplexity (nats per token)", .zero = false};
  const json::array marks{report::mark_at_x(report.at("capacity").to_number<double>(), "cache full")};
  json::array out;
  out.push_back(table_section(
      "Perplexity",
      "Each cache on all tokens that it scored, and beside the first cache on the tokens that both "
      "scored, since a part of the text may be easier than the whole. Intervals come from the means "
      "of 30 consecutive parts.",
      {"cache", "tokens", "perplexity", "bits/byte", "over the first's, on the same tokens (95% interval)"},
      table_rows(report)));
  out.push_back(chart_section("Along the stream",
                              "A cache that can go on for ever stays level. Recomputation is done for a "
                              "sample: its line is the first "
                              "cache's, moved by how the two differ on the sampled tokens of each part.",
                              report::chart("along-the-stream", "Parts of equal length",
                                            {.label = "position (tokens)"}, loss, lines(report, "parts"))));
  out.push_back(chart_section(
      "From the beginning",
      "What happens when the cache is first full, and to a dense cache beyond the lengths that the model was "
      "trained for.",
      report::chart("from-the-beginning", "Parts that grow with their position",
                    {.label = "position (tokens)", .scale = "log"}, loss, lines(report, "growing_parts"),
                    marks)));
  out.push_back(settings_section(report));
  return out;
}

}  // namespace

void show_comparison(const PerplexityOptions& options, const json::object& report) {
  if (options.outputs.table()) {
    print_table(report);
  }
  if (options.outputs.html) {
    write_page(*options.outputs.html, "Perplexity over the stream",
               text_of(report.at("model")) + " on " + text_of(report.at("text")), sections(report));
  }
}

}  // namespace condensed::eval
