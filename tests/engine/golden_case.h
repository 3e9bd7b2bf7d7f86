#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "cache/condensed_cache.h"
#include "engine/safetensors.h"

/// The reference vectors of tests/golden.
namespace condensed::engine::test {

struct Case {
  std::vector<std::int32_t> tokens;
  cache::StreamWindow window;
  bool evicts = false;
  std::map<std::string, std::vector<float>> expected;
};

inline std::filesystem::path folder_of(const std::string& name) {
  return std::filesystem::path(CONDENSED_TESTS_DIR) / "golden" / name;
}

inline Case read_case(const std::string& name) {
  std::ifstream file(folder_of(name) / "case.json");
  std::stringstream text;
  text << file.rdbuf();
  const boost::json::object json = boost::json::parse(text.str()).as_object();
  Case out;
  for (const auto& token : json.at("tokens").as_array()) {
    out.tokens.push_back(static_cast<std::int32_t>(token.as_int64()));
  }
  out.evicts = !json.at("window").is_null();
  out.window = out.evicts ? cache::StreamWindow{json.at("sinks").as_int64(), json.at("window").as_int64()}
                          : cache::StreamWindow{0, static_cast<std::int64_t>(out.tokens.size())};
  const SafetensorsFile expected(folder_of(name) / "expected.safetensors");
  for (const auto& [tensor, view] : expected.tensors()) {
    const auto* data = reinterpret_cast<const float*>(view.data.data());
    out.expected[tensor].assign(data, data + view.data.size() / sizeof(float));
  }
  return out;
}

inline double largest_error(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double error = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = error > largest || std::isnan(error) ? error : largest;
  }
  return largest;
}

}  // namespace condensed::engine::test
