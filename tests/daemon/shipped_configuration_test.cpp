// What is shipped about the configuration must say what the table of settings says.

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/settings.h"

namespace condensed::daemon {
namespace {

const std::filesystem::path kRoot = std::filesystem::path(CONDENSED_TESTS_DIR).parent_path();

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  EXPECT_TRUE(file) << path;
  return out.str();
}

/// The sample with its defaults, which are commented out, in force.
Settings sample_settings() {
  const std::string text = text_of(kRoot / "etc" / "condensed.toml");
  const auto path =
      std::filesystem::temp_directory_path() / ("condensed-sample-" + std::to_string(::getpid()) + ".toml");
  std::ofstream(path) << std::regex_replace(text, std::regex("(^|\n)# ([a-z_]+ = )"), "$1$2");
  Settings settings;
  try {
    apply_config_file(settings, path.string());
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what();
  }
  std::filesystem::remove(path);
  return settings;
}

TEST(ShippedConfiguration, TheSampleShowsTheDefaults) {
  const Settings sample = sample_settings();
  const Settings defaults;
  for (const Setting& each : all_settings()) {
    if (each.key == "model" || each.key == "sinks" || each.key == "window") {
      continue;  // chosen for the bundled model
    }
    std::visit([&](auto member) { EXPECT_EQ(sample.*member, defaults.*member) << each.key; }, each.target);
  }
}

TEST(ShippedConfiguration, TheSampleAndTheManualNameEveryKey) {
  const std::string sample = text_of(kRoot / "etc" / "condensed.toml");
  const std::string manual = text_of(kRoot / "docs" / "configuration.md");
  for (const Setting& each : all_settings()) {
    const std::string key(each.key);
    EXPECT_TRUE(std::regex_search(sample, std::regex("(^|\n)(# )?" + key + " = "))) << key;
    EXPECT_NE(manual.find("| `" + key + "` |"), std::string::npos) << key;
  }
}

TEST(ShippedConfiguration, TheManualHasTheDefaults) {
  const std::string manual = text_of(kRoot / "docs" / "configuration.md");
  const Settings defaults;
  for (const Setting& each : all_settings()) {
    if (const auto* member = std::get_if<std::int64_t Settings::*>(&each.target)) {
      const std::string row =
          "| `" + std::string(each.key) + "` | " + std::to_string(defaults.*(*member)) + " |";
      EXPECT_NE(manual.find(row), std::string::npos) << row;
    }
  }
}

}  // namespace
}  // namespace condensed::daemon
