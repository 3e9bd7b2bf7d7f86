#include "daemon/log_fields.h"

#include <algorithm>
#include <array>
#include <optional>

#include <boost/json.hpp>

namespace condensed::daemon {

namespace {

constexpr std::array<std::string_view, 4> kKeys{"session", "user", "code", "connection"};

bool fits_value(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-';
}

std::optional<std::pair<std::string_view, std::string_view>> field(std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view key = word.substr(0, equals);
  const std::string_view value = word.substr(equals + 1);
  if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end() || value.empty() ||
      !std::all_of(value.begin(), value.end(), fits_value)) {
    return std::nullopt;
  }
  return std::pair(key, value);
}

}  // namespace

LogLine split_fields(std::string_view line) {
  LogLine split{.text = line};
  while (true) {
    const std::size_t space = split.text.rfind(' ');
    if (space == std::string_view::npos) {
      break;
    }
    const auto found = field(split.text.substr(space + 1));
    const auto same_key = [&](const auto& earlier) { return earlier.first == found->first; };
    if (!found || std::any_of(split.fields.begin(), split.fields.end(), same_key)) {
      break;
    }
    split.fields.push_back(*found);
    split.text = split.text.substr(0, space);
  }
  std::reverse(split.fields.begin(), split.fields.end());
  return split;
}

std::string in_quotes(std::string_view text) {
  return boost::json::serialize(boost::json::string(text));
}

}  // namespace condensed::daemon
