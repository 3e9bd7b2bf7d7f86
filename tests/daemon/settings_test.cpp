#include "daemon/settings.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"

namespace condensed::daemon {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

const Setting& setting(std::string_view key) {
  for (const Setting& candidate : all_settings()) {
    if (candidate.key == key) {
      return candidate;
    }
  }
  throw std::logic_error("no such setting");
}

/// A file that is gone at the end of its scope.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() /
              ("condensed-settings-" + std::to_string(::getpid()) + ".toml")) {
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

Settings read(const std::string& text) {
  const ConfigFile file(text);
  Settings settings;
  apply_config_file(settings, file.path());
  return settings;
}

std::string error_of(const std::string& text) {
  try {
    read(text);
  } catch (const engine::InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Settings, DefaultsAreInTheirOwnRange) {
  const Settings defaults;
  for (const Setting& each : all_settings()) {
    Settings changed;
    if (each.key == "model") {
      continue;  // has no default
    }
    std::visit([&](auto member) { EXPECT_NO_THROW(set(changed, each, defaults.*member)) << each.key; },
               each.target);
  }
}

TEST(Settings, EveryKeyHasItsOwnMember) {
  for (const Setting& each : all_settings()) {
    Settings changed;
    const Settings defaults;
    const auto* integer = std::get_if<std::int64_t Settings::*>(&each.target);
    if (integer == nullptr) {
      continue;
    }
    set(changed, each, static_cast<std::int64_t>(each.least));
    for (const Setting& other : all_settings()) {
      const auto* member = std::get_if<std::int64_t Settings::*>(&other.target);
      if (member != nullptr && other.key != each.key) {
        EXPECT_EQ(changed.*(*member), defaults.*(*member)) << each.key << " changes " << other.key;
      }
    }
    EXPECT_EQ(changed.*(*integer), static_cast<std::int64_t>(each.least)) << each.key;
  }
}

TEST(Settings, FlagsAreTheKeysWithDashes) {
  EXPECT_EQ(setting("max_sessions").flag(), "--max-sessions");
  std::set<std::string> flags;
  for (const Setting& each : all_settings()) {
    flags.insert(each.flag());
  }
  EXPECT_EQ(flags.size(), all_settings().size());
}

TEST(Settings, TextOfAFlagIsReadAsItsType) {
  Settings settings;
  set_from_text(settings, setting("window"), "77");
  set_from_text(settings, setting("prompt_tolerance"), "1e-3");
  set_from_text(settings, setting("socket_mode"), "0600");
  set_from_text(settings, setting("socket"), "12");
  EXPECT_EQ(settings.window, 77);
  EXPECT_DOUBLE_EQ(settings.prompt_tolerance, 1e-3);
  EXPECT_EQ(settings.socket_permissions(), 0600U);
  EXPECT_EQ(settings.socket, "12");
  EXPECT_THROW(set_from_text(settings, setting("window"), "7x"), engine::InputError);
  EXPECT_THROW(set_from_text(settings, setting("window"), "0"), engine::InputError);
  EXPECT_THROW(set_from_text(settings, setting("prompt_tolerance"), "nan"), engine::InputError);
}

TEST(Settings, AreComparedShownAndCopiedByKey) {
  Settings a;
  Settings b;
  b.max_connections = 7;
  b.log_level = "debug";
  for (const Setting& each : all_settings()) {
    const bool changed = each.key == "max_connections" || each.key == "log_level";
    EXPECT_EQ(differs(a, b, each), changed) << each.key;
    EXPECT_TRUE(!changed || each.reloadable) << each.key;
  }
  EXPECT_EQ(text_of(b, setting("max_connections")), "7");
  EXPECT_EQ(text_of(b, setting("log_level")), "\"debug\"");
  copy(a, b, setting("log_level"));
  EXPECT_EQ(a.log_level, "debug");
  EXPECT_NE(a.max_connections, 7);
  EXPECT_FALSE(setting("model").reloadable);
  EXPECT_FALSE(setting("socket").reloadable);
}

TEST(Settings, RangeEndsAreInside) {
  for (const Setting& each : all_settings()) {
    if (std::holds_alternative<std::string Settings::*>(each.target)) {
      continue;
    }
    Settings settings;
    const auto least = static_cast<std::int64_t>(each.least);
    const auto most = static_cast<std::int64_t>(each.most);
    EXPECT_NO_THROW(set(settings, each, least)) << each.key;
    EXPECT_NO_THROW(set(settings, each, most)) << each.key;
    EXPECT_THROW(set(settings, each, least - 1), engine::InputError) << each.key;
    EXPECT_THROW(set(settings, each, most + 1), engine::InputError) << each.key;
  }
}

TEST(ConfigFile, SetsWhatItNamesAndKeepsTheRest) {
  const Settings settings = read("model = \"m\"\nsinks = 2\nprefill = \"passes=3\"\nprompt_tolerance = 1\n");
  EXPECT_EQ(settings.model, "m");
  EXPECT_EQ(settings.sinks, 2);
  EXPECT_EQ(settings.window, Settings().window);
  EXPECT_DOUBLE_EQ(settings.prompt_tolerance, 1);
  const engine::EngineOptions options = settings.engine_options();
  EXPECT_EQ(options.default_window.sinks, 2);
  EXPECT_EQ(options.prompt.mode, engine::PromptMode::passes);
  EXPECT_EQ(options.prompt.passes, 3);
}

TEST(ConfigFile, ErrorsSayWhereAndWhatWasExpectedAndFound) {
  EXPECT_THAT(error_of("sinks = 1\n  windwo = 3\n"),
              EndsWith(":2:3: unknown key windwo; did you mean window?"));
  EXPECT_THAT(error_of("nothing_like_any_key = 1\n"), EndsWith("unknown key nothing_like_any_key"));
  EXPECT_THAT(error_of("[server]\n"), HasSubstr("unknown key server"));
  EXPECT_THAT(error_of("window = 1.5\n"),
              EndsWith(":1:10: window: expected a whole number from 1 to 1073741824, "
                       "found 1.5"));
  EXPECT_THAT(error_of("window = \"8\"\n"), EndsWith("found \"8\""));
  EXPECT_THAT(error_of("socket_mode = 660\n"), EndsWith(":1:15: socket_mode: expected a string, found 660"));
  EXPECT_THAT(error_of("socket_mode = \"0999\"\n"), HasSubstr("expected an octal mode"));
  EXPECT_THAT(
      error_of("kernels = \"cuda\"\n"),
      HasSubstr("expected one of auto, avx512vnni, avx512, avx2, neondot, neon, reference, found \"cuda\""));
  EXPECT_THAT(error_of("prefill = \"passes=0\"\n"), HasSubstr(":1:11: prefill: "));
  EXPECT_THAT(error_of("sinks = true\n"), EndsWith("expected a string or a number, found a TOML boolean"));
  EXPECT_THAT(error_of("sinks = 1\nsinks\n"), HasSubstr(":2:"));
}

TEST(ConfigFile, ThatIsMissingIsNamed) {
  Settings settings;
  try {
    apply_config_file(settings, "/nowhere/condensed.toml");
    FAIL() << "no error";
  } catch (const engine::InputError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("/nowhere/condensed.toml: cannot read the configuration"));
  }
}

}  // namespace
}  // namespace condensed::daemon
