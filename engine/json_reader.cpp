#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/input_error.h"
#include "engine/json_value.h"
#include "engine/utf8.h"

namespace condensed::engine {

/// Reads one text, from front to back.
class JsonReader {
 public:
  JsonReader(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  JsonValue read() {
    if (text_.size() > limits_.bytes) {
      fail("more than " + std::to_string(limits_.bytes) + " bytes");
    }
    if (const std::size_t valid = valid_utf8_prefix(text_); valid < text_.size()) {
      at_ = valid;
      fail("expected UTF-8");
    }
    skip_space();
    JsonValue value = read_value(0);
    skip_space();
    if (at_ < text_.size()) {
      fail("expected the end after one value");
    }
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw JsonError(message + " at byte " + std::to_string(at_) +
                    (at_ < text_.size() ? "" : ", where the text ends"));
  }

  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }

  void expect(char c) {
    if (!next_is(c)) {
      fail(std::string("expected ") + c);
    }
    ++at_;
  }

  JsonValue read_value(int depth) {
    if (depth > limits_.depth) {
      fail("more than " + std::to_string(limits_.depth) + " lists and objects within each other");
    }
    if (++n_values_ > limits_.values) {
      fail("more than " + std::to_string(limits_.values) + " values");
    }
    if (next_is('{')) {
      return read_object(depth);
    }
    if (next_is('[')) {
      return read_array(depth);
    }
    if (next_is('"')) {
      return read_string();
    }
    for (const auto& [word, value] : {std::pair<std::string_view, JsonValue>{"null", {}},
                                      {"true", JsonValue(true)},
                                      {"false", JsonValue(false)}}) {
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    return read_number();
  }

  /// What stands between brackets, separated by commas.
  template <typename ReadItem>
  void read_items(char open, char close, const ReadItem& read_item) {
    expect(open);
    skip_space();
    if (next_is(close)) {
      ++at_;
      return;
    }
    for (;;) {
      read_item();
      skip_space();
      if (next_is(close)) {
        ++at_;
        return;
      }
      if (!next_is(',')) {
        fail(std::string("expected , or ") + close);
      }
      ++at_;
      skip_space();
    }
  }

  JsonValue read_array(int depth) {
    JsonArray out;
    read_items('[', ']', [&] { out.push_back(read_value(depth + 1)); });
    return out;
  }

  JsonValue read_object(int depth) {
    JsonObject out;
    read_items('{', '}', [&] {
      std::string name = read_string();
      skip_space();
      expect(':');
      skip_space();
      out.members_.emplace_back(std::move(name), read_value(depth + 1));
    });
    check_names(out);
    return out;
  }

  /// Sorted, since a header may have a great many.
  void check_names(const JsonObject& object) const {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : object.members()) {
      names.push_back(name);
    }
    std::ranges::sort(names);
    if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
      fail("the object has \"" + std::string(*twice) + "\" twice, which ends");
    }
  }

  std::string read_string() {
    expect('"');
    std::string out;
    for (;;) {
      const std::size_t plain = std::min(text_.find_first_of("\"\\", at_), text_.size());
      const std::string_view piece = text_.substr(at_, plain - at_);
      const auto control =
          std::ranges::find_if(piece, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
      at_ += static_cast<std::size_t>(control - piece.begin());
      if (control != piece.end()) {
        fail("a control character in a string");
      }
      out += piece;
      if (next_is('"')) {
        ++at_;
        return out;
      }
      expect('\\');
      read_escape(out);
    }
  }

  void read_escape(std::string& out) {
    constexpr std::string_view kEscapes = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const std::size_t which = at_ < text_.size() ? kEscapes.find(text_[at_]) : std::string_view::npos;
    if (which != std::string_view::npos) {
      ++at_;
      out += kMeanings[which];
      return;
    }
    expect('u');
    std::uint32_t code = read_hex();
    if (code >= 0xdc00 && code < 0xe000) {
      fail("half of a surrogate pair");
    }
    if (code >= 0xd800 && code < 0xdc00) {
      expect('\\');
      expect('u');
      const std::uint32_t low = read_hex();
      if (low < 0xdc00 || low >= 0xe000) {
        fail("half of a surrogate pair");
      }
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(code, out);
  }

  std::uint32_t read_hex() {
    const std::string_view digits = text_.substr(at_, 4);
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc() || end != digits.data() + 4) {
      fail("expected four hexadecimal digits");
    }
    at_ += 4;
    return code;
  }

  static void append_utf8(std::uint32_t code, std::string& out) {
    const auto continued = [&](unsigned shift) {
      out += static_cast<char>(0x80U | ((code >> shift) & 0x3fU));
    };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0U | (code >> 6));
      continued(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xe0U | (code >> 12));
      continued(6);
      continued(0);
    } else {
      out += static_cast<char>(0xf0U | (code >> 18));
      continued(12);
      continued(6);
      continued(0);
    }
  }

  std::size_t skip_digits() {
    const std::size_t begin = at_;
    at_ = std::min(text_.find_first_not_of("0123456789", at_), text_.size());
    return at_ - begin;
  }
  void expect_digits() {
    if (skip_digits() == 0) {
      fail("expected a digit");
    }
  }

  JsonValue read_number() {
    const std::size_t begin = at_;
    at_ += next_is('-') ? 1 : 0;
    const bool zero_first = next_is('0');
    if (const std::size_t n = skip_digits(); n == 0 || (zero_first && n > 1)) {
      at_ = begin;
      fail("expected a value");
    }
    bool whole = true;
    if (next_is('.')) {
      whole = false;
      ++at_;
      expect_digits();
    }
    if (next_is('e') || next_is('E')) {
      whole = false;
      ++at_;
      at_ += next_is('+') || next_is('-') ? 1 : 0;
      expect_digits();
    }
    const char* first = text_.data() + begin;
    const char* last = text_.data() + at_;
    if (std::int64_t integer = 0; whole && std::from_chars(first, last, integer).ec == std::errc()) {
      return integer;
    }
    double real = 0;
    if (std::from_chars(first, last, real).ec != std::errc()) {
      real =
          std::strtod(std::string(first, last).c_str(), nullptr);  // 0 or nearly so, where that is too small
    }
    if (std::isinf(real)) {
      at_ = begin;
      fail("a number out of range");
    }
    return real;
  }

  std::string_view text_;
  JsonLimits limits_;
  std::size_t at_ = 0;
  std::size_t n_values_ = 0;
};

JsonValue parse_json(std::string_view text, const JsonLimits& limits) {
  return JsonReader(text, limits).read();
}

JsonObject parse_json_object(std::string_view text, const std::string& expected) {
  try {
    const JsonValue value = parse_json(text);
    if (const JsonObject* object = value.if_object()) {
      return *object;
    }
  } catch (const JsonError& error) {
    throw InputError(expected + ": " + error.what());
  }
  throw InputError(expected);
}

}  // namespace condensed::engine
