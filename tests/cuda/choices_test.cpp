// Tokens chosen on the device: in captured steps, and through whole sessions against the processor.

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/make_backend.h"
#include "tests/cuda/device_stream.h"
#include "tests/engine/engine_calls.h"
#include "tests/kernels/choice_case.h"

namespace condensed::engine::test {
namespace {

using kernels::TokenChoice;
using kernels::test::ChoiceCase;

constexpr const char* kCase = "condensed-w2-stream";
constexpr cache::StreamWindow kWindow{.sinks = 2, .window = 6};
const std::vector<std::int32_t> kTokens = {4, 5, 6, 7, 8};

/// Streams that each ask for a token, or for logits where there is no choice.
class ChoosingStreams {
 public:
  explicit ChoosingStreams(std::int64_t n) : streams_(device_model(kCase), n, kWindow, n) {}

  int vocab() { return streams_.model().config.vocab_size; }
  Transformer& transformer() { return streams_.transformer(); }

  void step(const std::vector<std::optional<TokenChoice>>& choices) {
    std::vector<Slice> slices;
    for (std::size_t s = 0; s < choices.size(); ++s) {
      slices.push_back({.cache = &streams_.cache(static_cast<std::int64_t>(s)),
                        .tokens = {&kTokens[s], 1},
                        .logits_for = choices[s] ? LogitsFor::token : LogitsFor::last,
                        .choice = choices[s].value_or(TokenChoice{})});
    }
    transformer().run(slices, {});
  }
  /// Until every window has evicted, and the layout is one that runs as a graph.
  void warm_up(const std::vector<std::optional<TokenChoice>>& choices) {
    for (int step = 0; step < 12; ++step) {
      this->step(choices);
    }
  }

 private:
  Streams streams_;
};

TEST(ChosenTokens, AreThoseOfTheLogits) {
  std::mt19937 random(11);
  ChoosingStreams some(5);
  ChoosingStreams all(5);
  const auto vocab = static_cast<std::size_t>(some.vocab());
  for (int step = 0; step < 6; ++step) {
    std::vector<ChoiceCase> cases;
    std::vector<std::optional<TokenChoice>> choices;
    cases.reserve(5);
    for (int s = 0; s < 5; ++s) {
      const TokenChoice choice = cases.emplace_back(random, some.vocab()).choice();
      choices.push_back(random() % 4 == 0 ? std::nullopt : std::optional(choice));
    }
    some.step(choices);
    all.step(std::vector<std::optional<TokenChoice>>(5));
    const std::span<const float> every = all.transformer().logits();
    std::span<const float> logits = some.transformer().logits();
    std::span<const std::int32_t> tokens = some.transformer().chosen_tokens();
    for (std::size_t s = 0; s < 5; ++s) {
      const auto begin = every.begin() + static_cast<std::ptrdiff_t>(s * vocab);
      std::vector<float> row(begin, begin + static_cast<std::ptrdiff_t>(vocab));
      if (choices[s]) {
        kernels::ChoiceSpace space;
        ASSERT_FALSE(tokens.empty());
        EXPECT_EQ(tokens.front(), kernels::choose_token(row, *choices[s], space)) << "step " << step;
        tokens = tokens.subspan(1);
      } else {
        ASSERT_GE(logits.size(), vocab);
        EXPECT_TRUE(std::ranges::equal(logits.first(vocab), row)) << "step " << step;
        logits = logits.subspan(vocab);
      }
    }
    EXPECT_TRUE(tokens.empty() && logits.empty());
  }
}

TEST(ChosenTokens, StepsAreLaidOutAlikeHoweverTheyAreChosen) {
  ChoosingStreams streams(4);
  const TokenChoice greedy;
  const TokenChoice warm{.temperature = 0.8, .random = 12345};
  const TokenChoice filtered{.temperature = 1.2, .top_k = 7, .top_p = 0.9, .min_p = 0.01, .random = 77};
  const std::vector<kernels::LogitAdjustment> seen = {{.token = 1, .count = 2}, {.token = 9, .bias = 3}};
  TokenChoice penalised = filtered;
  penalised.penalties = {.repetition = 1.2F, .presence = 0.5F, .frequency = 0.1F};
  penalised.adjustments = seen;
  streams.warm_up({greedy, greedy, greedy, greedy});
  using Choices = std::vector<std::optional<TokenChoice>>;
  for (const Choices& choices : {Choices{warm, greedy, warm, greedy},
                                 {filtered, penalised, std::nullopt, greedy},
                                 {penalised, penalised, penalised, penalised},
                                 {greedy, greedy, greedy, warm}}) {
    const emulation::Counts before = emulation::counts();
    streams.step(choices);
    EXPECT_EQ(emulation::counts().captures, before.captures);
    EXPECT_EQ(emulation::counts().graph_launches, before.graph_launches + 1);
  }
}

TEST(ChosenTokens, OnlyTheyComeBackAndNothingWaitsInAStep) {
  ChoosingStreams streams(2);
  const TokenChoice choice{.temperature = 0.8, .top_k = 7, .top_p = 0.9, .random = 1};
  streams.warm_up({choice, choice});
  const emulation::Counts before = emulation::counts();
  streams.step({choice, TokenChoice{}});
  EXPECT_EQ(emulation::counts().graph_launches, before.graph_launches + 1);
  EXPECT_EQ(emulation::counts().synchronisations, before.synchronisations + 2);  // its end; the tokens
  EXPECT_EQ(emulation::counts().kernels, before.kernels + 1);                    // the copy of the tokens
  EXPECT_TRUE(streams.transformer().logits().empty());
}

TEST(ChosenTokens, MoreAdjustmentsThanThereWasRoomForAreLaidOutAnew) {
  ChoosingStreams streams(3);
  std::vector<kernels::LogitAdjustment> all;
  for (std::int32_t token = 0; token < streams.vocab(); ++token) {
    all.push_back({.token = token, .bias = token == 17 ? 50.0F : -50.0F});
  }
  ASSERT_GT(3 * all.size(), 256U);  // what steps with few have room for
  TokenChoice choice;
  choice.adjustments = all;
  streams.step({TokenChoice{}, TokenChoice{}, TokenChoice{}});
  for (int step = 0; step < 3; ++step) {
    streams.step({choice, choice, choice});
    for (const std::int32_t token : streams.transformer().chosen_tokens()) {
      EXPECT_EQ(token, 17);
    }
  }
}

/// What sessions say that draw their tokens in several ways, at the same time.
std::vector<std::vector<std::int32_t>> texts(std::shared_ptr<Model> model) {
  std::mt19937 random(21);
  EngineOptions options = small_options();
  options.default_window = {.sinks = 2, .window = 12};
  options.max_batch_rows = 32;
  options.max_cache_bytes = std::size_t{16} << 20;
  const int vocab = model->config.vocab_size;
  Engine engine(std::move(model), options);
  std::vector<std::shared_ptr<Collector>> collectors;
  for (int s = 0; s < 5; ++s) {
    const std::string name = "s" + std::to_string(s);
    std::vector<std::int32_t> prompt(6);
    std::ranges::generate(prompt, [&] { return static_cast<std::int32_t>(random() % vocab); });
    value(open(engine, {.session = {.name = name}, .input = prompt}));
    GenerateRequest request = engine::greedy(name, 12);
    SamplingOptions& sampling = request.sampling;
    sampling.seed = 100 + s;
    sampling.temperature = s == 0 ? 0 : 0.6 + 0.2 * s;
    sampling.top_k = s == 2 ? 9 : 0;
    sampling.top_p = s == 3 ? 0.8 : 1;
    sampling.min_p = s == 4 ? 0.1 : 0;
    sampling.repetition_penalty = s % 2 == 1 ? 1.3 : 1;
    sampling.frequency_penalty = s == 3 ? 0.2 : 0;
    sampling.logit_bias = {{3, 2.0F}, {5, -100.0F}};
    request.n_logprobs = s == 4 ? 2 : -1;
    value(generate(engine, request, collectors.emplace_back(std::make_shared<Collector>())));
  }
  std::vector<std::vector<std::int32_t>> ids;
  for (const auto& collector : collectors) {
    EXPECT_EQ(collector->wait_done().reason, FinishReason::length);
    ids.push_back(collector->ids());
  }
  return ids;
}

TEST(ChosenTokens, SessionsSayOnTheDeviceWhatTheySayOnTheProcessor) {
  const auto expected = texts(load_model(folder_of(kCase), kernels::make_backend("reference", 1)));
  const long launches = emulation::counts().graph_launches;
  EXPECT_EQ(texts(device_model(kCase)), expected);
  EXPECT_GT(emulation::counts().graph_launches, launches + 5);
  EXPECT_NE(expected[1], expected[3]);
}

}  // namespace
}  // namespace condensed::engine::test
