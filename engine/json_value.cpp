#include "engine/json_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace condensed::engine {

namespace {

template <typename T>
void append_number(T number, std::string& out) {
  std::array<char, 32> text{};
  out.append(text.data(), std::to_chars(text.begin(), text.end(), number).ptr);
}

void append_string(std::string_view text, std::string& out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

JsonObject::JsonObject(std::initializer_list<Member> members) {
  for (const auto& [name, value] : members) {
    set(name, value);
  }
}

const JsonValue* JsonObject::find(std::string_view name) const {
  const auto found = std::ranges::find(members_, name, &Member::first);
  return found == members_.end() ? nullptr : &found->second;
}

void JsonObject::set(std::string_view name, JsonValue value) {
  const auto found = std::ranges::find(members_, name, &Member::first);
  if (found == members_.end()) {
    members_.emplace_back(name, std::move(value));
  } else {
    found->second = std::move(value);
  }
}

void JsonObject::erase(std::string_view name) {
  std::erase_if(members_, [&](const Member& member) { return member.first == name; });
}

std::optional<double> JsonValue::number() const {
  if (const auto* integer = if_integer()) {
    return static_cast<double>(*integer);
  }
  const auto* real = std::get_if<double>(&value_);
  return real != nullptr ? std::optional(*real) : std::nullopt;
}

std::string JsonValue::text() const {
  std::string out;
  append_to(out);
  return out;
}

void JsonValue::append_to(std::string& out) const {
  if (const auto* boolean = if_boolean()) {
    out += *boolean ? "true" : "false";
  } else if (const auto* integer = if_integer()) {
    append_number(*integer, out);
  } else if (const auto* real = std::get_if<double>(&value_); real != nullptr && std::isfinite(*real)) {
    append_number(*real, out);
  } else if (const auto* string = if_string()) {
    append_string(*string, out);
  } else if (const auto* array = if_array()) {
    std::string_view separator = "[";
    for (const JsonValue& value : *array) {
      out += separator;
      value.append_to(out);
      separator = ",";
    }
    out += array->empty() ? "[]" : "]";
  } else if (const auto* object = if_object()) {
    std::string_view separator = "{";
    for (const auto& [name, value] : object->members()) {
      out += separator;
      append_string(name, out);
      out += ':';
      value.append_to(out);
      separator = ",";
    }
    out += object->members().empty() ? "{}" : "}";
  } else {
    out += "null";
  }
}

}  // namespace condensed::engine
