#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace condensed::engine {

class JsonObject;
class JsonValue;
using JsonArray = std::vector<JsonValue>;

/// Why a text is not JSON (RFC 8259), and at which byte.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The members of an object, in the order of the text. Names are unique.
class JsonObject {
 public:
  using Member = std::pair<std::string, JsonValue>;

  JsonObject() = default;
  JsonObject(std::initializer_list<Member> members);

  const std::vector<Member>& members() const { return members_; }
  /// Null: there is none of that name.
  const JsonValue* find(std::string_view name) const;
  /// Adds the member, or gives it another value.
  void set(std::string_view name, JsonValue value);
  void erase(std::string_view name);

 private:
  friend class JsonReader;
  std::vector<Member> members_;
};

/// One value of a JSON text. This is what checkpoints are described in, and what runs where nothing but a
/// compiler is installed reports in.
class JsonValue {
 public:
  JsonValue() = default;  // null
  JsonValue(bool value) : value_(value) {}
  JsonValue(int value) : value_(std::int64_t{value}) {}
  JsonValue(std::int64_t value) : value_(value) {}
  JsonValue(std::size_t value) : value_(static_cast<std::int64_t>(value)) {}
  JsonValue(double value) : value_(value) {}
  JsonValue(const char* value) : value_(std::string(value)) {}
  JsonValue(std::string_view value) : value_(std::string(value)) {}
  JsonValue(std::string value) : value_(std::move(value)) {}
  JsonValue(JsonArray value) : value_(std::move(value)) {}
  JsonValue(JsonObject value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  /// Null pointers for values of other kinds. A number is an integer if it is written as one and fits.
  const bool* if_boolean() const { return std::get_if<bool>(&value_); }
  const std::int64_t* if_integer() const { return std::get_if<std::int64_t>(&value_); }
  const std::string* if_string() const { return std::get_if<std::string>(&value_); }
  const JsonArray* if_array() const { return std::get_if<JsonArray>(&value_); }
  const JsonObject* if_object() const { return std::get_if<JsonObject>(&value_); }
  /// Of any number.
  std::optional<double> number() const;

  /// As JSON, in one line. Numbers that JSON does not have become null.
  std::string text() const;

 private:
  void append_to(std::string& out) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, JsonArray, JsonObject> value_;
};

/// Limits of what a text may hold; beyond, it is refused.
struct JsonLimits {
  std::size_t bytes = 100'000'000;  // what a safetensors header may have
  int depth = 32;                   // lists and objects within each other
  std::size_t values = 2'000'000;   // so that a text of nothing but brackets cannot fill the memory
};

/// Throws JsonError for anything but one JSON value in valid UTF-8: also for names that an object has twice,
/// and numbers no double can hold.
JsonValue parse_json(std::string_view text, const JsonLimits& limits = {});

/// The same of an object. Throws InputError: `expected`, and why the text is not that.
JsonObject parse_json_object(std::string_view text, const std::string& expected);

}  // namespace condensed::engine
