#include "clients/bench/lookup.h"

#include <cstdlib>
#include <string>

namespace condensed::bench {

namespace json = boost::json;

std::optional<double> number_at(const json::object& object, std::string_view key) {
  const json::value* const found = object.if_contains(key);
  return found != nullptr && found->is_number() ? std::optional(found->to_number<double>()) : std::nullopt;
}

std::optional<double> statistic_ms(const json::object& report, std::string_view statistic,
                                   std::string_view figure) {
  const double count = number_at(object_at(object_at(report, "histograms"), figure), "count").value_or(0);
  if (statistic.starts_with('p')) {
    const double beyond = 1 - std::strtod(std::string(statistic.substr(1)).c_str(), nullptr) / 100;
    if (count * beyond < 1 - 1e-9) {
      return std::nullopt;
    }
  }
  return number_at(report, std::string(statistic) + "_" + std::string(figure) + "_ms");
}

const json::object& as_object(const json::value& value) {
  static const json::object none;
  return value.is_object() ? value.get_object() : none;
}

const json::object& object_at(const json::object& object, std::string_view key) {
  const json::value* const found = object.if_contains(key);
  static const json::value none;
  return as_object(found != nullptr ? *found : none);
}

const json::array& array_at(const json::object& object, std::string_view key) {
  static const json::array none;
  const json::value* const found = object.if_contains(key);
  return found != nullptr && found->is_array() ? found->get_array() : none;
}

}  // namespace condensed::bench
