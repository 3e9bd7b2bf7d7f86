#include <string>
#include <string_view>

#include "clients/bench/report.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

/// RFC 4180.
std::string quoted(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) {
    return std::string(text);
  }
  std::string out = "\"";
  for (const char c : text) {
    out += c == '"' ? "\"\"" : std::string(1, c);
  }
  return out + '"';
}

void append_value(std::string& out, const std::string& section, const std::string& row, std::string_view key,
                  const json::value& value) {
  const std::string text = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
  out += section + "," + quoted(row) + "," + quoted(key) + "," + quoted(text) + "\n";
}

void append_rows(std::string& out, const std::string& section, const json::array& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [key, value] : rows[i].as_object()) {
      append_value(out, section, std::to_string(i), key, value);
    }
  }
}

}  // namespace

std::string report_csv(const json::object& report) {
  std::string out = "section,row,key,value\n";
  for (const auto& [key, value] : report) {
    if (!value.is_object() && !value.is_array()) {
      append_value(out, "summary", "", key, value);
    }
  }
  append_rows(out, "by_position", report.at("by_position").as_array());
  append_rows(out, "timeline", report.at("timeline").as_array());
  append_rows(out, "stalls", report.at("stalls").as_object().at("listed").as_array());
  for (const auto& [figure, points] : report.at("percentiles").as_object()) {
    for (const json::value& point : points.as_array()) {
      append_value(out, "percentiles_" + std::string(figure), json::serialize(point.as_array()[0]), "ms",
                   point.as_array()[1]);
    }
  }
  return out;
}

}  // namespace condensed::bench
