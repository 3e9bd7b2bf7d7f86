#include "eval/report_sections.h"

#include <fstream>
#include <iostream>
#include <utility>

#include "engine/input_error.h"
#include "report/html_page.h"
#include "report/page_parts.h"

namespace condensed::eval {

namespace json = boost::json;

namespace {

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) {
    throw engine::InputError(path.string() + ": cannot be written");
  }
}

}  // namespace

json::object table_section(const std::string& heading, const std::string& text,
                           const std::vector<std::string>& columns, json::array rows) {
  json::object section = report::section(heading, text);
  section["table"] = report::table(columns, std::move(rows));
  return section;
}

json::object chart_section(const std::string& heading, const std::string& text, json::object chart) {
  json::object section = report::section(heading, text);
  section["chart"] = std::move(chart);
  return section;
}

json::object settings_section(const json::object& report) {
  json::array rows;
  for (const auto& [key, value] : report) {
    if (value.is_string()) {
      rows.push_back(json::array{key, value});
    } else if (!value.is_structured()) {
      rows.push_back(json::array{key, json::serialize(value)});
    }
  }
  return table_section("Settings", "", {"setting", "value"}, std::move(rows));
}

void check_outputs(const ReportOutputs& outputs) {
  for (const auto& path : {outputs.json, outputs.html}) {
    if (path && !path->empty() && !std::ofstream(*path, std::ios::binary | std::ios::app)) {
      throw engine::InputError(path->string() + ": cannot be written");
    }
  }
}

void write_json(const ReportOutputs& outputs, const json::object& report) {
  if (!outputs.json) {
    return;
  }
  if (outputs.json->empty()) {
    std::cout << json::serialize(report) << std::endl;
    return;
  }
  write_file(*outputs.json, json::serialize(report) + "\n");
}

void write_page(const std::filesystem::path& path, std::string_view title, std::string_view subtitle,
                json::array sections) {
  write_file(
      path, report::html_page({{"title", title}, {"subtitle", subtitle}, {"sections", std::move(sections)}}));
}

}  // namespace condensed::eval
