#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "eval/commands.h"

namespace condensed::eval {

/// Sections of pages (report/page_parts.h). text: may be empty.
boost::json::object table_section(const std::string& heading, const std::string& text,
                                  const std::vector<std::string>& columns, boost::json::array rows);
boost::json::object chart_section(const std::string& heading, const std::string& text,
                                  boost::json::object chart);

/// What a run was made with: every number, text and flag at the top of its report, as a table.
boost::json::object settings_section(const boost::json::object& report);

/// Throws InputError when a file cannot be written; to be known before a long run. A file that is there
/// stays as it is; one that is not becomes an empty one.
void check_outputs(const ReportOutputs& outputs);

/// Writes the report as JSON where outputs.json says, if it does. Throws InputError when that fails.
void write_json(const ReportOutputs& outputs, const boost::json::object& report);

/// Writes the page as one self-contained file. Throws InputError when that fails.
void write_page(const std::filesystem::path& path, std::string_view title, std::string_view subtitle,
                boost::json::array sections);

}  // namespace condensed::eval
