#include "engine/snapshot_policy.h"

#include <charconv>
#include <string>

#include "engine/input_error.h"

namespace condensed::engine {

namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 40;

[[noreturn]] void fail(std::string_view text) {
  throw InputError("snapshot policy '" + std::string(text) +
                   "': expected never, or on_idle, on_idle=MILLISECONDS, every_tokens=N (N at least 1) and "
                   "on_append with commas between");
}

/// The number behind `prefix`, if the word begins so.
std::optional<std::int64_t> number_behind(std::string_view word, std::string_view prefix, std::int64_t least,
                                          std::string_view text) {
  if (!word.starts_with(prefix)) {
    return std::nullopt;
  }
  const std::string_view digits = word.substr(prefix.size());
  const char* end = digits.data() + digits.size();
  std::int64_t number = 0;
  const auto [parsed_to, error] = std::from_chars(digits.data(), end, number);
  if (error != std::errc() || parsed_to != end || number < least || number > kMost) {
    fail(text);
  }
  return number;
}

}  // namespace

SnapshotPolicy parse_snapshot_policy(std::string_view text) {
  SnapshotPolicy policy;
  const std::chrono::milliseconds usual_idle = *policy.on_idle;
  policy.on_idle.reset();
  if (text == "never") {
    return policy;
  }
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    if (word == "on_append") {
      policy.on_append = true;
    } else if (word == "on_idle") {
      policy.on_idle = usual_idle;
    } else if (const auto idle_ms = number_behind(word, "on_idle=", 0, text)) {
      policy.on_idle = std::chrono::milliseconds(*idle_ms);
    } else if (const auto tokens = number_behind(word, "every_tokens=", 1, text)) {
      policy.every_tokens = tokens;
    } else {
      fail(text);
    }
    if (comma == std::string_view::npos) {
      return policy;
    }
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace condensed::engine
