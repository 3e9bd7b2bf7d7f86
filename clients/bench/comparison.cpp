#include "clients/bench/comparison.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "clients/bench/lookup.h"
#include "clients/bench/quantities.h"
#include "clients/bench/run_page.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

constexpr double kConfidence = 0.95;

/// A quantity in every run, in their order.
using Across = std::vector<std::optional<Quantity>>;

std::vector<Across> aligned(std::span<const NamedReport> runs) {
  std::vector<std::vector<Quantity>> each;
  std::vector<std::string> names;
  for (const NamedReport& run : runs) {
    each.push_back(quantities_of(run.report));
    for (const Quantity& quantity : each.back()) {
      if (std::find(names.begin(), names.end(), quantity.name) == names.end()) {
        names.push_back(quantity.name);
      }
    }
  }
  std::vector<Across> out;
  for (const std::string& name : names) {
    Across across;
    for (const std::vector<Quantity>& quantities : each) {
      const auto found = std::find_if(quantities.begin(), quantities.end(),
                                      [&](const Quantity& quantity) { return quantity.name == name; });
      across.push_back(found == quantities.end() ? std::nullopt : std::optional(*found));
    }
    out.push_back(std::move(across));
  }
  return out;
}

bool comparable(const std::optional<Quantity>& a, const std::optional<Quantity>& b) {
  return a && b && a->estimate && b->estimate;
}

json::value optional_json(const std::optional<double>& value) {
  return value ? json::value(*value) : json::value();
}

json::object value_json(const std::optional<Quantity>& quantity) {
  json::object out;
  out["value"] = quantity ? optional_json(quantity->value) : json::value();
  if (quantity && quantity->estimate) {
    out["parts_mean"] = quantity->estimate->value;
    out["half_width"] = quantity->estimate->half_width(kConfidence);
    out["parts"] = quantity->estimate->parts;
  }
  return out;
}

/// In words: "better", "worse", or "no more than noise".
std::string verdict(double change, double half_width, bool lower_is_better) {
  if (std::abs(change) <= half_width) {
    return "noise";
  }
  return (change < 0) == lower_is_better ? "better" : "worse";
}

/// confidence: of this one difference.
json::value change_json(const std::optional<Quantity>& base, const std::optional<Quantity>& other,
                        double confidence) {
  if (!comparable(base, other)) {
    return nullptr;
  }
  const Estimate change = difference(*other->estimate, *base->estimate);
  const double half_width = change.half_width(confidence);
  json::object out;
  out["difference"] = change.value;
  out["half_width"] = half_width;
  out["percent"] =
      base->estimate->value == 0 ? json::value() : json::value(100 * change.value / base->estimate->value);
  out["verdict"] = verdict(change.value, half_width, base->lower_is_better);
  return out;
}

json::object quantity_json(const Across& across, double confidence) {
  const auto known =
      std::find_if(across.begin(), across.end(), [](const auto& each) { return each.has_value(); });
  json::object out;
  out["name"] = (*known)->name;
  out["better"] = (*known)->lower_is_better ? "lower" : "higher";
  json::array values;
  json::array changes;
  for (std::size_t i = 0; i < across.size(); ++i) {
    values.push_back(value_json(across[i]));
    if (i > 0) {
      changes.push_back(change_json(across[0], across[i], confidence));
    }
  }
  out["runs"] = std::move(values);
  out["changes"] = std::move(changes);
  return out;
}

/// What was set differently, or other about the runs.
json::array differing_settings(std::span<const NamedReport> runs) {
  std::vector<std::pair<json::value, json::array>> all;  // a setting's name and its values
  const auto add = [&](const json::value& name, const json::value& value, std::size_t run) {
    auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.first == name; });
    if (found == all.end()) {
      all.emplace_back(name, json::array(runs.size(), json::value()));
      found = std::prev(all.end());
    }
    found->second[run] = value;
  };
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (const char* key : {"scenario", "seed", "ended"}) {
      if (const json::value* const value = runs[i].report.if_contains(key)) {
        add(key, *value, i);
      }
    }
    for (const json::value& row : flat_settings(runs[i].report)) {
      add(row.as_array()[0], row.as_array()[1], i);
    }
  }
  json::array out;
  for (auto& [name, values] : all) {
    if (std::any_of(values.begin(), values.end(),
                    [&first = values[0]](const json::value& each) { return each != first; })) {
      json::object setting;
      setting["setting"] = name;
      setting["values"] = std::move(values);
      out.push_back(std::move(setting));
    }
  }
  return out;
}

}  // namespace

json::object compared(std::span<const NamedReport> runs) {
  const std::vector<Across> all = aligned(runs);
  // So many differences are looked at that chance alone would pass some of them at 95% each (Bonferroni).
  double looked_at = 0;
  for (const Across& across : all) {
    for (std::size_t i = 1; i < across.size(); ++i) {
      looked_at += comparable(across[0], across[i]) ? 1 : 0;
    }
  }
  const double confidence = 1 - (1 - kConfidence) / std::max(1.0, looked_at);
  json::object out;
  out["schema"] = "condensed-bench-compare/1";
  json::array names;
  for (const NamedReport& run : runs) {
    names.emplace_back(run.name);
  }
  out["runs"] = std::move(names);
  out["confidence"] = kConfidence;
  out["confidence_of_each_change"] = confidence;
  out["differing_settings"] = differing_settings(runs);
  json::array quantities;
  for (const Across& across : all) {
    quantities.push_back(quantity_json(across, confidence));
  }
  out["quantities"] = std::move(quantities);
  return out;
}

}  // namespace condensed::bench
