#include "clients/bench/results_file.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace condensed::bench {

namespace json = boost::json;

namespace {

constexpr const char* kSchema = "condensed-bench/1";

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::system_error(errno, std::generic_category(), "cannot read " + path);
  }
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) {
    throw std::runtime_error("cannot read " + path);
  }
  return text;
}

std::string short_name(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

}  // namespace

json::object read_report(const std::string& path) {
  const std::string text = content_of(path);
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object()) {
    throw std::runtime_error(path + " is not a report of `bench --json`: " +
                             (error ? "it is no JSON (" + error.message() + ")" : "it is no JSON object"));
  }
  const json::value* const schema = value.get_object().if_contains("schema");
  if (schema == nullptr || *schema != kSchema) {
    throw std::runtime_error(path + " is not a report of `bench --json`: its schema is " +
                             (schema == nullptr ? "missing" : json::serialize(*schema)) + ", not \"" +
                             kSchema + '"');
  }
  return std::move(value.get_object());
}

std::vector<NamedReport> read_reports(const std::vector<std::string>& paths) {
  std::vector<NamedReport> all;
  for (const std::string& path : paths) {
    const auto alike = std::count_if(paths.begin(), paths.end(), [&](const std::string& other) {
      return short_name(other) == short_name(path);
    });
    all.push_back({alike > 1 ? path : short_name(path), read_report(path)});
  }
  return all;
}

}  // namespace condensed::bench
