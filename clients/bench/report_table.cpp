#include <array>
#include <string>
#include <vector>

#include "clients/bench/report.h"
#include "clients/condensectl/table.h"
#include "report/number_text.h"

namespace condensed::bench {

namespace json = boost::json;

using report::formatted;

namespace {

double number(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<double>() : 0;
}

std::string whole(const json::object& object, std::string_view key) {
  return formatted("%.0f", number(object, key));
}

/// Enough digits for what is short, no more than tell apart for what is long.
std::string duration_ms(double value_ms) {
  return formatted(value_ms < 10 ? "%.3f" : value_ms < 1000 ? "%.1f" : "%.0f", value_ms);
}

std::string figures_table(const json::object& report) {
  constexpr std::array kColumns{"mean", "std", "p50", "p90", "p99", "p99.9", "p99.99", "max"};
  std::vector<std::vector<std::string>> rows{{"ms", "count"}};
  rows.front().insert(rows.front().end(), kColumns.begin(), kColumns.end());
  for (const auto& [name, histogram] : report.at("histograms").as_object()) {
    rows.push_back({std::string(name), whole(histogram.as_object(), "count")});
    for (const char* column : kColumns) {
      rows.back().push_back(
          duration_ms(number(report, std::string(column) + "_" + std::string(name) + "_ms")));
    }
  }
  return ctl::table(rows);
}

std::string positions_table(const json::object& report) {
  constexpr std::size_t kMostRows = 12;
  const json::array& bins = report.at("by_position").as_array();
  if (bins.empty()) {
    return "";
  }
  std::vector<std::vector<std::string>> rows{{"position from", "to", "tokens", "mean", "p50", "p99", "max"}};
  for (std::size_t i = 0; i < bins.size(); ++i) {
    // The first, the last and some between; all of them are in the JSON.
    if (bins.size() > kMostRows && i * (kMostRows - 1) % (bins.size() - 1) >= kMostRows - 1) {
      continue;
    }
    const json::object& bin = bins[i].as_object();
    rows.push_back({whole(bin, "from"), whole(bin, "to"), whole(bin, "count"),
                    duration_ms(number(bin, "mean_ms")), duration_ms(number(bin, "p50_ms")),
                    duration_ms(number(bin, "p99_ms")), duration_ms(number(bin, "max_ms"))});
  }
  return "\n" + ctl::table(rows);
}

std::string totals(const json::object& report) {
  std::string out = std::string(report.at("scenario").as_string()) + ": " +
                    formatted("%.1f s, ", number(report, "duration")) + whole(report, "completed") +
                    " generations completed, " + whole(report, "failed") + " failed; " +
                    std::string(report.at("ended").as_string()) + "\n";
  out += "tokens: " + whole(report, "total_input_tokens") + " in, " + whole(report, "total_output_tokens") +
         " out, " + formatted("%.1f out/s\n", number(report, "output_throughput"));
  if (report.contains("request_goodput")) {
    out += "goodput: " + formatted("%.3f generations/s, ", number(report, "request_goodput")) +
           formatted("%.1f tokens/s ", number(report, "token_goodput")) +
           formatted("(%.4f%% of all)\n", 100 * number(report, "good_token_share"));
  }
  return out;
}

std::string daemon_line(const json::object& daemon) {
  const json::object& itl = daemon.at("itl").as_object();
  const json::object& step = daemon.at("step").as_object();
  return "daemon: itl " + duration_ms(number(itl, "mean_ms")) + " ms mean of " + whole(itl, "count") +
         ", step " + duration_ms(number(step, "mean_ms")) + " ms mean of " + whole(step, "count") +
         ", batch " + formatted("%.2f", number(daemon, "mean_batch")) + ", " + whole(daemon, "evictions") +
         " evictions\n";
}

std::string closing(const json::object& report) {
  const json::object& stalls = report.at("stalls").as_object();
  const json::object& overhead = report.at("overhead").as_object();
  std::string out = "\nstalls above " + duration_ms(number(stalls, "threshold_ms")) +
                    " ms: " + whole(stalls, "count") + "\n";
  if (const json::value* const daemon = report.if_contains("daemon_side")) {
    out += daemon_line(daemon->as_object());
  }
  return out + "this tool: " + whole(overhead, "ns_per_token") + " ns a token, " +
         formatted("%.2f%% of the daemon's steps; ", 100 * number(overhead, "share_of_step")) +
         formatted("%.1f us of processor time a token with its system calls\n",
                   number(overhead, "cpu_ns_per_token") / 1e3);
}

}  // namespace

std::string report_table(const json::object& report) {
  return totals(report) + "\n" + figures_table(report) + positions_table(report) + closing(report);
}

}  // namespace condensed::bench
