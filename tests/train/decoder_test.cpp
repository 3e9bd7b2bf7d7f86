#include "train/decoder.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "engine/checkpoint.h"
#include "train/model_folder.h"

namespace condensed::train {
namespace {

using torch::Tensor;

std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(CONDENSED_TESTS_DIR) / "golden" / name;
}

engine::ModelConfig tiny_config(const std::string& layer_types, int n_layers) {
  return model_config({{"model_type", "lckv-llama"},
                       {"vocab_size", 23},
                       {"hidden_size", 12},
                       {"intermediate_size", 20},
                       {"num_hidden_layers", n_layers},
                       {"num_attention_heads", 4},
                       {"num_key_value_heads", 2},
                       {"head_dim", 6},
                       {"rms_norm_eps", 1e-5},
                       {"tie_word_embeddings", true},
                       {"layer_types", layer_types}},
                      "the test");
}

/// Large weights, so that everything matters.
Decoder tiny_decoder(const std::string& layer_types, int n_layers, torch::ScalarType type,
                     const Decoder::Options& options = {}) {
  const engine::ModelConfig config = tiny_config(layer_types, n_layers);
  Parameters parameters = random_parameters(config, 0.3, 7);
  for (const NamedTensor& named : named_tensors(config, parameters)) {
    *named.tensor = named.tensor->to(type).requires_grad_();
  }
  return {config, std::move(parameters), options};
}

Tensor random_tokens(std::int64_t batch, std::int64_t n_tokens, int vocab_size, std::uint64_t seed = 3) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randint(0, vocab_size, {batch, n_tokens}, generator, torch::kInt64);
}

double difference(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

Tensor prediction_loss(const Decoder::Output& out, const Tensor& tokens) {
  return torch::cross_entropy_loss(out.logits.flatten(0, 1), tokens.slice(1, 1).flatten());
}

/// With the KV loss, where there is one.
Tensor loss_of(Decoder& decoder, const Tensor& tokens, const Passes& passes) {
  const auto out = decoder.forward(tokens.slice(1, 0, -1), passes);
  const Tensor loss = prediction_loss(out, tokens);
  return out.kv_change.defined() ? loss + 0.3 * out.kv_change : loss;
}

class GoldenCase : public testing::TestWithParam<const char*> {
 protected:
  GoldenCase() {
    std::ifstream file(golden(GetParam()) / "case.json");
    std::stringstream text;
    text << file.rdbuf();
    const auto json = boost::json::parse(text.str()).as_object();
    std::vector<std::int64_t> ids;
    for (const auto& token : json.at("tokens").as_array()) {
      ids.push_back(token.as_int64());
    }
    // Nothing here evicts: what comes before the first eviction, and the token that brings it.
    if (!json.at("window").is_null()) {
      const std::int64_t n = json.at("sinks").as_int64() + json.at("window").as_int64() + 1;
      ids.resize(static_cast<std::size_t>(std::min<std::int64_t>(n, static_cast<std::int64_t>(ids.size()))));
    }
    tokens_ = torch::tensor(ids).unsqueeze(0);
    engine::Checkpoint checkpoint(golden(GetParam()));
    Parameters parameters = load_parameters(checkpoint);
    // The vectors are float64's, and where every layer attends to the top one roundings grow.
    for (const NamedTensor& named : named_tensors(checkpoint.config(), parameters)) {
      *named.tensor = named.tensor->to(torch::kFloat64);
    }
    decoder_ = std::make_unique<Decoder>(checkpoint.config(), std::move(parameters), Decoder::Options{});
  }

  Tensor expected(const std::string& name) const {
    const engine::SafetensorsFile file(golden(GetParam()) / "expected.safetensors");
    const auto& view = file.tensors().at(name);
    Tensor all = torch::empty(view.shape);
    std::memcpy(all.data_ptr(), view.data.data(), view.data.size());
    return all.slice(0, 0, tokens_.size(1)).unsqueeze(0);
  }

  Tensor tokens_;
  std::unique_ptr<Decoder> decoder_;
};

constexpr double kTolerance = 1e-5;  // what the authors' code and the other vectors differ by

TEST_P(GoldenCase, Decoding) {
  EXPECT_LE(difference(decoder_->decode(tokens_), expected("logits")), kTolerance);
}

TEST_P(GoldenCase, AsManyPassesAsTokensAreExact) {
  const torch::NoGradGuard no_gradient;
  const std::int64_t n = tokens_.size(1);
  const auto out = decoder_->forward(tokens_, {.without_gradient = n - 2, .with_gradient = 2});
  EXPECT_LE(difference(out.logits, expected("logits")), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenCase,
                         testing::Values("authors-stream", "bf16-weights", "condensed-all",
                                         "condensed-nodiag", "condensed-w2", "condensed-w2-stream",
                                         "cross-layer-cla", "plain-llama", "plain-llama-stream",
                                         "sliding-yoco", "two-groups"));

class GoldenPasses : public GoldenCase {};

TEST_P(GoldenPasses, NineAsThePaperHasThem) {
  const torch::NoGradGuard no_gradient;
  const auto out = decoder_->forward(tokens_, {.without_gradient = 7, .with_gradient = 2});
  EXPECT_LE(difference(out.logits, expected("logits_parallel_m7_b2")), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenPasses, testing::Values("condensed-all", "condensed-w2"));

/// In float64, where a central difference has ten good digits. Every pass has a gradient, so that what is
/// differentiated is the whole function.
class Gradients : public testing::TestWithParam<const char*> {};

TEST_P(Gradients, AreThoseOfFiniteDifferences) {
  Decoder decoder = tiny_decoder(GetParam(), 4, torch::kFloat64);
  const Tensor tokens = random_tokens(2, 7, 23);
  const Passes passes{.without_gradient = 0, .with_gradient = 3};
  loss_of(decoder, tokens, passes).backward();

  const torch::NoGradGuard no_gradient;
  for (const NamedTensor& named : named_tensors(decoder.config(), decoder.parameters())) {
    const Tensor flat = named.tensor->view({-1});
    const Tensor gradient = named.tensor->grad().view({-1});
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << named.name;
    for (std::int64_t i = 0; i < flat.size(0); i += 1 + flat.size(0) / 7) {
      constexpr double kStep = 1e-5;
      const double before = flat[i].item<double>();
      flat[i] = before + kStep;
      const double above = loss_of(decoder, tokens, passes).item<double>();
      flat[i] = before - kStep;
      const double below = loss_of(decoder, tokens, passes).item<double>();
      flat[i] = before;
      EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * kStep), 1e-7) << named.name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns, Gradients,
                         testing::Values("0_1_2_3", "0_2_2_3", "3_3_3_3", "1_1_3_3", "0_0_2_2"));

TEST(Decoder, OnePassWithGradientGivesKeysAndValuesNone) {
  const Tensor tokens = random_tokens(2, 7, 23);
  // Layer 1's keys and values are read by layer 0 only: they matter a pass later.
  Decoder once = tiny_decoder("1_0_2_3", 4, torch::kFloat32);
  prediction_loss(once.forward(tokens.slice(1, 0, -1), {.without_gradient = 3, .with_gradient = 1}), tokens)
      .backward();
  EXPECT_FALSE(once.parameters().layers[1].k_proj.grad().defined());
  EXPECT_FALSE(once.parameters().layers[1].v_proj.grad().defined());
  Decoder twice = tiny_decoder("1_0_2_3", 4, torch::kFloat32);
  prediction_loss(twice.forward(tokens.slice(1, 0, -1), {.without_gradient = 3, .with_gradient = 2}), tokens)
      .backward();
  EXPECT_GT(twice.parameters().layers[1].k_proj.grad().abs().max().item<double>(), 0);
  EXPECT_GT(twice.parameters().layers[1].v_proj.grad().abs().max().item<double>(), 0);
}

TEST(Decoder, PassesConvergeAndSayHowFarTheyMoved) {
  Decoder decoder = tiny_decoder("0_2_2_3", 4, torch::kFloat32);
  const torch::NoGradGuard no_gradient;
  const Tensor tokens = random_tokens(3, 12, 23);
  const Tensor exact = decoder.decode(tokens);
  double error = 1e9;
  double change = 1e9;
  for (const std::int64_t passes : {2, 4, 8, 12}) {
    const auto out = decoder.forward(tokens, {.without_gradient = passes - 2, .with_gradient = 2});
    EXPECT_LT(difference(out.logits, exact), error);
    EXPECT_LT(out.kv_change.item<double>(), change);
    error = difference(out.logits, exact);
    change = out.kv_change.item<double>();
  }
  EXPECT_LT(error, 1e-5);
}

TEST(Decoder, RecomputingGivesTheSameGradients) {
  const Tensor tokens = random_tokens(2, 9, 23);
  for (const char* const types : {"0_2_2_3", "0_0_2_2", "1_1_3_3"}) {
    Decoder kept = tiny_decoder(types, 4, torch::kFloat64);
    Decoder again = tiny_decoder(types, 4, torch::kFloat64, {.recompute_activations = true});
    for (Decoder* const decoder : {&kept, &again}) {
      loss_of(*decoder, tokens, {.without_gradient = 1, .with_gradient = 2}).backward();
    }
    const auto expected = named_tensors(kept.config(), kept.parameters());
    const auto found = named_tensors(again.config(), again.parameters());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_LE(difference(expected[i].tensor->grad(), found[i].tensor->grad()), 1e-12)
          << types << expected[i].name;
    }
  }
}

TEST(Decoder, ProductsInBfloat16AreClose) {
  const Tensor tokens = random_tokens(2, 9, 23);
  const torch::NoGradGuard no_gradient;
  Decoder exact = tiny_decoder("0_2_2_3", 4, torch::kFloat32);
  Decoder rounded = tiny_decoder("0_2_2_3", 4, torch::kFloat32, {.precision = Precision::bf16});
  const Tensor a = exact.forward(tokens, {}).logits;
  const Tensor b = rounded.forward(tokens, {}).logits;
  EXPECT_GT(difference(a, b), 0);
  EXPECT_LT(difference(a, b), 0.03 * a.abs().max().item<double>());
}

}  // namespace
}  // namespace condensed::train
