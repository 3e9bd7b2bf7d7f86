// Fewer bits: what quantised weights and caches change, and what they refuse.

#include "engine/weight_format.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "engine/model.h"
#include "engine/random_weights.h"
#include "engine/transformer.h"
#include "kernels/make_backend.h"

namespace condensed::engine {
namespace {

using kernels::DType;

std::shared_ptr<Model> bundled(const char* weights, const char* backend = "auto") {
  return load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                    kernels::make_backend(backend, 2), parse_weight_format(weights));
}

/// Logits after each of 300 tokens, far past a window of 60.
std::vector<float> logits_of(Model& model, DType cache_dtype) {
  Transformer transformer(model, 1, cache_dtype);
  cache::CondensedCache cache(*model.backend, transformer.cache_shape(), {4, 60});
  std::vector<float> out;
  std::uint32_t random = 1;
  for (int i = 0; i < 300; ++i) {
    random = random * 1664525 + 1013904223;
    const auto token = static_cast<std::int32_t>(random >> 22);
    const Slice slice{.cache = &cache, .tokens = {&token, 1}, .logits_for = LogitsFor::last};
    transformer.run({&slice, 1}, {});
    out.insert(out.end(), transformer.logits().begin(), transformer.logits().end());
  }
  return out;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    largest = difference > largest || std::isnan(difference) ? difference : largest;
  }
  return largest;
}

TEST(WeightFormat, FewerBitsChangeLogitsByNoMoreThanWrittenDown) {
  const std::vector<float> exact = logits_of(*bundled("stored"), DType::f32);
  struct Limit {
    const char* weights;
    DType cache;
    double largest;
  };
  for (const Limit& limit :
       {Limit{"q8", DType::f32, 0.5}, Limit{"q4", DType::f32, 2.5}, Limit{"stored", DType::f16, 0.01},
        Limit{"stored", DType::bf16, 0.05}, Limit{"stored", DType::q8, 0.25}}) {
    const double difference = largest_difference(logits_of(*bundled(limit.weights), limit.cache), exact);
    EXPECT_LE(difference, limit.largest) << limit.weights << " weights, " << name_of(limit.cache) << " cache";
    EXPECT_GT(difference, 0) << limit.weights << " weights, " << name_of(limit.cache) << " cache";
  }
}

TEST(WeightFormat, BackendsAgreeOnQuantisedWeights) {
  for (const char* weights : {"q8", "q4"}) {
    const std::vector<float> expected = logits_of(*bundled(weights, "reference"), DType::q8);
    EXPECT_LE(largest_difference(logits_of(*bundled(weights), DType::q8), expected), 0.1) << weights;
  }
}

TEST(WeightFormat, TakesWhatItSays) {
  const auto model = bundled("stored");
  const auto q8 = bundled("q8");
  const auto q4 = bundled("q4");
  const auto bytes = static_cast<double>(model->weights.bytes());
  EXPECT_LT(static_cast<double>(q8->weights.bytes()), bytes * 0.55);
  EXPECT_LT(static_cast<double>(q4->weights.bytes()),
            bytes * 0.38);  // a fifth of this model is its embedding
}

TEST(WeightFormat, ParsesItsNames) {
  EXPECT_EQ(parse_weight_format("stored"), std::nullopt);
  EXPECT_EQ(parse_weight_format("q4"), (WeightFormat{DType::q4, DType::q8}));
  EXPECT_EQ(parse_weight_format("bf16"), (WeightFormat{DType::bf16, DType::bf16}));
  for (const char* text : {"", "f32", "q5", "Q8"})
    EXPECT_THROW(parse_weight_format(text), InputError) << text;
}

TEST(WeightFormat, NumbersThatAreNotFiniteHaveNoQuantisedForm) {
  std::vector<float> numbers(2 * 64, 1.0F);
  numbers[70] = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::byte> out(2 * 66);
  const kernels::MatrixView from{DType::f32, reinterpret_cast<const std::byte*>(numbers.data()), 2, 64};
  EXPECT_THAT([&] { convert_rows(from, DType::q8, out); },
              testing::ThrowsMessage<InputError>(testing::HasSubstr("row 1")));
}

TEST(WeightFormat, QuantisedWeightsAreNotConvertedAgain) {
  ModelConfig config = bundled("stored")->config;
  auto source = std::make_unique<RandomWeights>(config, WeightFormat{DType::q8, DType::q8});
  EXPECT_THAT(
      [&] {
        make_model("random", std::move(source), kernels::make_backend("reference", 1),
                   parse_weight_format("q4"));
      },
      testing::ThrowsMessage<InputError>(testing::HasSubstr("is stored as q8 and cannot become q4")));
}

}  // namespace
}  // namespace condensed::engine
