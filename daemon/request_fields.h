#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace condensed::daemon {

/// A request lacks a key, or has one that is unknown, of the wrong type or out of range. The message names
/// it.
class FieldError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Reads the keys of one request, each at most once; finish() refuses those that nobody asked for.
/// Every method throws FieldError.
class RequestFields {
 public:
  explicit RequestFields(const boost::json::object& object) : object_(object) {}

  /// nullptr when absent.
  const boost::json::value* take(std::string_view key);

  std::optional<std::string> string(std::string_view key);
  std::string required_string(std::string_view key);
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t least, std::int64_t most);
  std::optional<double> number(std::string_view key, double least, double most);
  std::optional<bool> boolean(std::string_view key);
  /// A session name: 1 to 128 characters out of A–Z a–z 0–9 . _ -
  std::optional<std::string> session_name(std::string_view key = "session");
  std::string required_session_name();
  /// `user`: a name or a number, as text.
  std::optional<std::string> user();
  std::optional<std::vector<std::int32_t>> token_ids(std::string_view key);

  [[noreturn]] static void fail(std::string_view key, const std::string& expected,
                                const boost::json::value* found);
  void finish() const;

 private:
  const boost::json::object& object_;
  std::vector<std::string_view> taken_;
};

}  // namespace condensed::daemon
