#include "eval/paper_plan.h"

#include <charconv>
#include <limits>
#include <string_view>

#include "engine/input_error.h"

namespace condensed::eval {

namespace {

/// A whole number, or 0: nothing here may be 0.
std::int64_t positive_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

std::int64_t parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t bytes;
  };
  constexpr Unit kUnits[] = {{"KiB", 1LL << 10}, {"MiB", 1LL << 20}, {"GiB", 1LL << 30}};
  std::int64_t unit_bytes = 1;
  for (const Unit& unit : kUnits) {
    if (text.ends_with(unit.name)) {
      unit_bytes = unit.bytes;
      text.remove_suffix(unit.name.size());
      break;
    }
  }
  const std::int64_t number = positive_number(text);
  return number <= std::numeric_limits<std::int64_t>::max() / unit_bytes ? number * unit_bytes : 0;
}

}  // namespace

PaperShape parse_paper_shape(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  PaperShape shape{.shape = text.substr(0, equals)};
  if (equals != std::string::npos) {
    shape.memory_bytes = parse_size(std::string_view(text).substr(equals + 1));
  }
  if (shape.shape.empty() || shape.memory_bytes <= 0) {
    throw engine::InputError("shape \"" + text +
                             "\": expected SHAPE=MEMORY, as in tinyllama=1GiB or llama-7b=8GiB");
  }
  return shape;
}

Lengths parse_lengths(const std::string& text) {
  const std::size_t plus = text.find('+');
  Lengths lengths;
  if (plus != std::string::npos) {
    lengths.prompt = positive_number(std::string_view(text).substr(0, plus));
    lengths.generated = positive_number(std::string_view(text).substr(plus + 1));
  }
  if (lengths.prompt <= 0 || lengths.generated <= 0 || lengths.prompt > 1 << 24 ||
      lengths.generated > 1 << 24) {
    throw engine::InputError("lengths \"" + text +
                             "\": expected tokens of the prompt and of the answer, as in 5+2043");
  }
  return lengths;
}

}  // namespace condensed::eval
