// The whole model against the reference vectors of tests/golden.

#include <algorithm>
#include <filesystem>
#include <functional>

#include <gtest/gtest.h>

#include "engine/model.h"
#include "engine/transformer.h"
#include "kernels/make_backend.h"
#include "tests/engine/golden_case.h"

namespace condensed::engine {
namespace {

using test::Case;
using test::folder_of;
using test::largest_error;
using test::read_case;

constexpr double kTolerance = 1e-4;

/// All logits of the case's tokens, read in slices of at most chunk_tokens.
std::vector<float> run(const std::string& name, const Case& input, std::string_view backend,
                       const PromptOptions& prompt, std::int64_t skip = 0) {
  const auto model = load_model(folder_of(name), kernels::make_backend(backend, 2));
  const auto n_tokens = static_cast<std::int64_t>(input.tokens.size());
  Transformer transformer(*model, n_tokens);
  cache::CondensedCache cache(*model->backend, transformer.cache_shape(), input.window);
  std::vector<float> logits;
  for (std::int64_t done = 0; done < n_tokens;) {
    std::int64_t n = prompt.slice_tokens(n_tokens - done);
    if (skip > 0 && done < input.window.sinks) {
      n = std::min(n, input.window.sinks - done);
    }
    const Slice slice{
        .cache = &cache, .tokens = std::span(input.tokens).subspan(done, n), .logits_for = LogitsFor::all};
    transformer.run(std::span(&slice, 1), prompt);
    logits.insert(logits.end(), transformer.logits().begin(), transformer.logits().end());
    done += n;
    if (done == input.window.sinks) {
      cache.skip(skip);
    }
  }
  return logits;
}

struct Run {
  std::string name;
  std::string backend;

  friend void PrintTo(const Run& run, std::ostream* out) { *out << run.name << " on " << run.backend; }
};

class Golden : public testing::TestWithParam<Run> {};
class GoldenParallel : public Golden {};  // the cases with logits of iterated passes
class GoldenEvicting : public Golden {};  // the cases whose window fills

TEST_P(Golden, Serial) {
  const Case input = read_case(GetParam().name);
  const auto logits = run(GetParam().name, input, GetParam().backend, {.mode = PromptMode::serial});
  EXPECT_LE(largest_error(logits, input.expected.at("logits")), kTolerance);
}

TEST_P(Golden, ChunksIteratedUntilTheyStandStill) {
  const Case input = read_case(GetParam().name);
  for (const std::int64_t chunk : {2, 5, 16, 33, 1000}) {
    const auto logits = run(GetParam().name, input, GetParam().backend,
                            {.mode = PromptMode::adaptive, .chunk_tokens = chunk, .tolerance = 1e-6});
    EXPECT_LE(largest_error(logits, input.expected.at("logits")), kTolerance) << "chunk " << chunk;
  }
}

TEST_P(Golden, AsManyPassesAsTokensAreExact) {
  const Case input = read_case(GetParam().name);
  const auto logits = run(GetParam().name, input, GetParam().backend,
                          {.mode = PromptMode::passes, .chunk_tokens = 7, .passes = 7});
  EXPECT_LE(largest_error(logits, input.expected.at("logits")), kTolerance);
}

TEST_P(GoldenParallel, NinePassesOverTheWholePrompt) {
  const Case input = read_case(GetParam().name);
  const auto logits = run(GetParam().name, input, GetParam().backend,
                          {.mode = PromptMode::passes,
                           .chunk_tokens = static_cast<std::int64_t>(input.tokens.size()),
                           .passes = 9});
  EXPECT_LE(largest_error(logits, input.expected.at("logits_parallel_m7_b2")), kTolerance);
}

TEST_P(GoldenEvicting, ABillionTokensLater) {
  const Case input = read_case(GetParam().name);
  for (const auto mode : {PromptMode::serial, PromptMode::adaptive}) {
    const auto logits = run(GetParam().name, input, GetParam().backend,
                            {.mode = mode, .chunk_tokens = 9, .tolerance = 1e-6}, 1'000'000'007);
    EXPECT_LE(largest_error(logits, input.expected.at("logits")), kTolerance);
  }
}

bool runs_here(const char* backend) {
  try {
    kernels::make_backend(backend, 1);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

/// The cases that `wanted` picks, on every backend this processor runs.
std::vector<Run> runs_of(const std::function<bool(const Case&)>& wanted) {
  std::vector<Run> runs;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(""))) {
    const std::string name = entry.path().filename();
    if (wanted(read_case(name))) {
      runs.push_back({name, "reference"});
      for (const char* backend : {"avx2", "avx512", "avx512vnni", "neon", "neondot"}) {
        if (runs_here(backend)) {
          runs.push_back({name, backend});
        }
      }
    }
  }
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
    return std::tie(a.name, a.backend) < std::tie(b.name, b.backend);
  });
  return runs;
}

std::string name_of(const testing::TestParamInfo<Run>& run) {
  std::string name = run.param.name + "_" + run.param.backend;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(runs_of([](const Case&) { return true; })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Cases, GoldenParallel, testing::ValuesIn(runs_of([](const Case& c) {
                           return c.expected.contains("logits_parallel_m7_b2");
                         })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Cases, GoldenEvicting,
                         testing::ValuesIn(runs_of([](const Case& c) { return c.evicts; })), name_of);

}  // namespace
}  // namespace condensed::engine
