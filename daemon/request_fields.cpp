#include "daemon/request_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace condensed::daemon {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxSessionName = 128;
constexpr std::size_t kShownValue = 60;

/// Whole numbers may be written as 3 or 3.0.
std::optional<std::int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) {
    return value.get_int64();
  }
  if (value.is_double() && std::abs(value.get_double()) < 0x1p53 &&
      value.get_double() == std::floor(value.get_double())) {
    return static_cast<std::int64_t>(value.get_double());
  }
  return std::nullopt;
}

std::string range_text(double least, double most) {
  std::ostringstream out;
  out << "a number from " << least << " to " << most;
  return out.str();
}

bool is_session_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxSessionName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

}  // namespace

void RequestFields::fail(std::string_view key, const std::string& expected, const json::value* found) {
  std::string shown = found != nullptr ? json::serialize(*found) : "nothing";
  if (found != nullptr && shown.size() > kShownValue) {
    shown = std::string(json::to_string(found->kind())) + " of " + std::to_string(shown.size()) + " bytes";
  }
  throw FieldError("\"" + std::string(key) + "\": expected " + expected + ", found " + shown);
}

const json::value* RequestFields::take(std::string_view key) {
  taken_.push_back(key);
  return object_.if_contains(key);
}

std::optional<std::string> RequestFields::string(std::string_view key) {
  const json::value* value = take(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    fail(key, "a string", value);
  }
  return std::string(value->get_string());
}

std::string RequestFields::required_string(std::string_view key) {
  std::optional<std::string> value = string(key);
  if (!value) {
    fail(key, "a string", nullptr);
  }
  return *std::move(value);
}

std::optional<std::int64_t> RequestFields::integer(std::string_view key, std::int64_t least,
                                                   std::int64_t most) {
  const json::value* value = take(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  const std::optional<std::int64_t> number = as_integer(*value);
  if (!number || *number < least || *number > most) {
    const bool open_ended = most == std::numeric_limits<std::int64_t>::max();
    fail(key,
         "a whole number " + (open_ended ? "of at least " + std::to_string(least)
                                         : "from " + std::to_string(least) + " to " + std::to_string(most)),
         value);
  }
  return number;
}

std::optional<double> RequestFields::number(std::string_view key, double least, double most) {
  const json::value* value = take(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  const double number = value->is_number() ? value->to_number<double>() : std::nan("");
  if (!(number >= least && number <= most)) {
    fail(key, range_text(least, most), value);
  }
  return number;
}

std::optional<bool> RequestFields::boolean(std::string_view key) {
  const json::value* value = take(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_bool()) {
    fail(key, "true or false", value);
  }
  return value->get_bool();
}

std::optional<std::string> RequestFields::user() {
  const json::value* value = take("user");
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->is_string() && !value->get_string().empty()) {
    return std::string(value->get_string());
  }
  const std::optional<std::int64_t> number = as_integer(*value);
  if (!number || *number < 0) {
    fail("user", "a user's name or number", value);
  }
  return std::to_string(*number);
}

std::optional<std::string> RequestFields::session_name(std::string_view key) {
  std::optional<std::string> name = string(key);
  if (name && !is_session_name(*name)) {
    const json::value value(*name);
    fail(key, "1 to 128 characters out of A-Z a-z 0-9 . _ -", &value);
  }
  return name;
}

std::string RequestFields::required_session_name() {
  std::optional<std::string> name = session_name();
  if (!name) {
    fail("session", "the name of a session", nullptr);
  }
  return *std::move(name);
}

std::optional<std::vector<std::int32_t>> RequestFields::token_ids(std::string_view key) {
  const json::value* value = take(key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_array()) {
    fail(key, "a list of token ids", value);
  }
  std::vector<std::int32_t> tokens;
  tokens.reserve(value->get_array().size());
  for (const json::value& item : value->get_array()) {
    const std::optional<std::int64_t> token = as_integer(item);
    if (!token || *token < 0 || *token > std::numeric_limits<std::int32_t>::max()) {
      fail(key, "token ids, whole numbers from 0", &item);
    }
    tokens.push_back(static_cast<std::int32_t>(*token));
  }
  return tokens;
}

void RequestFields::finish() const {
  for (const auto& [key, value] : object_) {
    if (std::find(taken_.begin(), taken_.end(), std::string_view(key)) == taken_.end()) {
      throw FieldError("unknown key \"" + std::string(key).substr(0, kShownValue) + "\" for this operation");
    }
  }
}

}  // namespace condensed::daemon
