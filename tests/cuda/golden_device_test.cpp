// Whole models on the emulated device against the reference vectors of tests/golden: captured steps, prompts
// in iterated chunks, evictions.

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cuda/device_stream.h"

namespace condensed::engine::test {
namespace {

constexpr double kTolerance = 1e-4;
constexpr std::int64_t kMostTokens = 24;  // emulation is slow

std::vector<std::string> cases(bool evicting) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(""))) {
    const std::string name = entry.path().filename();
    if (!evicting || read_case(name).evicts) {
      names.push_back(name);
    }
  }
  std::ranges::sort(names);
  return names;
}

std::string name_of(const testing::TestParamInfo<std::string>& name) {
  std::string out = name.param;
  std::ranges::replace(out, '-', '_');
  return out;
}

/// The logits of the first tokens, read in slices of at most chunk_tokens.
std::vector<float> read(const Case& input, Streams& streams, std::int64_t n_tokens,
                        const PromptOptions& prompt) {
  std::vector<float> logits;
  for (std::int64_t done = 0; done < n_tokens;) {
    const std::int64_t n = prompt.slice_tokens(n_tokens - done);
    const Slice slice{.cache = &streams.cache(0),
                      .tokens = std::span(input.tokens).subspan(done, n),
                      .logits_for = LogitsFor::all};
    streams.transformer().run(std::span(&slice, 1), prompt);
    logits.insert(logits.end(), streams.transformer().logits().begin(), streams.transformer().logits().end());
    done += n;
  }
  return logits;
}

class DeviceGolden : public testing::TestWithParam<std::string> {};

TEST_P(DeviceGolden, StepByStep) {
  const Case input = read_case(GetParam());
  // Past the first eviction, where there is one.
  const auto n_tokens = std::min<std::int64_t>(std::ssize(input.tokens),
                                               input.evicts ? input.window.capacity() + 8 : kMostTokens);
  Streams streams(device_model(GetParam()), 1, input.window, 1);
  const emulation::Counts before = emulation::counts();
  auto logits = read(input, streams, n_tokens, {.mode = PromptMode::serial});
  auto expected = input.expected.at("logits");
  expected.resize(logits.size());
  EXPECT_LE(largest_error(logits, expected), kTolerance);
  // Most of it from graphs, but for the first step of every layout: young streams grow, old ones have a seam.
  EXPECT_GE(emulation::counts().graph_launches - before.graph_launches, n_tokens - 8);
  EXPECT_LE(emulation::counts().captures - before.captures, 8);
}

TEST_P(DeviceGolden, ChunksIteratedUntilTheyStandStill) {
  const Case input = read_case(GetParam());
  const auto n_tokens = std::min<std::int64_t>(std::ssize(input.tokens), kMostTokens);
  Streams streams(device_model(GetParam()), n_tokens, input.window, 1);
  auto logits =
      read(input, streams, n_tokens, {.mode = PromptMode::adaptive, .chunk_tokens = 17, .tolerance = 1e-6});
  auto expected = input.expected.at("logits");
  expected.resize(logits.size());
  // bf16 weights meet activations in two parts of bf16 where rows are many.
  EXPECT_LE(largest_error(logits, expected), GetParam() == "bf16-weights" ? 2e-3 : kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, DeviceGolden, testing::ValuesIn(cases(false)), name_of);

}  // namespace
}  // namespace condensed::engine::test
