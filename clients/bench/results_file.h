#pragma once

#include <string>
#include <vector>

#include <boost/json.hpp>

namespace condensed::bench {

/// The report of a run, and what it is called beside others.
struct NamedReport {
  std::string name;
  boost::json::object report;
};

/// Reads what `bench --json` wrote. Throws std::runtime_error naming the file and what is wrong with it: it
/// cannot be read, is no JSON, or is of another schema.
boost::json::object read_report(const std::string& path);

/// Several, called by their files' names, with folders where it takes them to tell them apart.
std::vector<NamedReport> read_reports(const std::vector<std::string>& paths);

}  // namespace condensed::bench
