#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include <toml++/toml.h>

#include "daemon/settings.h"
#include "engine/input_error.h"

namespace condensed::daemon {

namespace {

using engine::InputError;

std::string place(const std::string& path, const toml::source_position& at) {
  std::ostringstream out;
  out << path << ':' << at.line << ':' << at.column << ": ";
  return out.str();
}

/// Edits (insertions, deletions, replacements) from a to b.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row[b.size()];
}

std::string suggestion(std::string_view key) {
  const auto nearest =
      std::min_element(all_settings().begin(), all_settings().end(), [&](const Setting& a, const Setting& b) {
        return edit_distance(key, a.key) < edit_distance(key, b.key);
      });
  return edit_distance(key, nearest->key) <= 3 ? "; did you mean " + std::string(nearest->key) + "?" : "";
}

std::optional<SettingValue> value_of(const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return text->get();
  }
  if (const auto* integer = node.as_integer()) {
    return integer->get();
  }
  if (const auto* real = node.as_floating_point()) {
    return real->get();
  }
  return std::nullopt;
}

}  // namespace

void apply_config_file(Settings& settings, const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    throw InputError(path + ": cannot read the configuration: " + std::strerror(errno));
  }
  toml::table table;
  try {
    table = toml::parse(file, path);
  } catch (const toml::parse_error& error) {
    throw InputError(place(path, error.source().begin) + std::string(error.description()));
  }
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    const auto setting = std::find_if(all_settings().begin(), all_settings().end(),
                                      [&](const Setting& candidate) { return candidate.key == name; });
    if (setting == all_settings().end()) {
      throw InputError(place(path, key.source().begin) + "unknown key " + std::string(name) +
                       suggestion(name));
    }
    const std::optional<SettingValue> value = value_of(node);
    if (!value) {
      std::ostringstream found;
      found << node.type();
      throw InputError(place(path, node.source().begin) + std::string(name) +
                       ": expected a string or a number, found a TOML " + found.str());
    }
    try {
      set(settings, *setting, *value);
    } catch (const InputError& error) {
      throw InputError(place(path, node.source().begin) + std::string(name) + ": " + error.what());
    }
  }
}

}  // namespace condensed::daemon
