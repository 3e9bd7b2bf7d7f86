#include "eval/paper_plan.h"

#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "engine/memory_plan.h"
#include "eval/random_model.h"
#include "kernels/make_backend.h"

namespace condensed::eval {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

engine::WeightFormat format(const char* name) {
  return engine::parse_weight_format(name).value();
}

TEST(PaperPlan, ReadsShapesAndLengths) {
  const PaperShape shape = parse_paper_shape("llama-7b=8GiB");
  EXPECT_EQ(shape.shape, "llama-7b");
  EXPECT_EQ(shape.memory_bytes, 8 * kGiB);
  EXPECT_EQ(parse_paper_shape("a=b/config.json=300MiB").shape, "a=b/config.json");
  EXPECT_EQ(parse_paper_shape("x=1000000").memory_bytes, 1000000);
  for (const char* bad : {"tinyllama", "tinyllama=", "=1GiB", "tinyllama=-1GiB", "tinyllama=1GB",
                          "tinyllama=GiB", "tinyllama=9999999999999GiB"}) {
    EXPECT_THROW(parse_paper_shape(bad), engine::InputError) << bad;
  }
  EXPECT_EQ(parse_lengths("5+2043").prompt, 5);
  EXPECT_EQ(parse_lengths("5+2043").total(), 2048);
  for (const char* bad : {"2048", "5+", "+5", "0+5", "5+-5", "5 + 5", "5+99999999999"}) {
    EXPECT_THROW(parse_lengths(bad), engine::InputError) << bad;
  }
}

TEST(PaperPlan, ASessionTakesWhatThePapersCacheTakes) {
  // 7B in f16: 2 · layers · tokens · 32 heads · 128 numbers · 2 bytes, a gigabyte for 2,048 tokens; with two
  // warmup layers three of 32 layers own a cache.
  const auto bytes = [](const char* layer_types) {
    return cache::CondensedCache::bytes_when_full(
        engine::cache_shape(random_model_config("llama-7b", layer_types), kernels::DType::f16), {0, 2048});
  };
  EXPECT_EQ(bytes("plain"), static_cast<std::size_t>(kGiB));
  EXPECT_EQ(bytes("w=2"), static_cast<std::size_t>(kGiB) / 32 * 3);
  EXPECT_EQ(bytes("w=10"), static_cast<std::size_t>(kGiB) / 32 * 11);
}

TEST(PaperPlan, WeightsAreCountedAsTheyAreLoaded) {
  // One of these models has an output matrix of its own.
  const std::string tied = std::string(CONDENSED_MODELS_DIR) + "/books-1m/config.json";
  const std::string untied = std::string(CONDENSED_TESTS_DIR) + "/golden/plain-llama/config.json";
  for (const std::string& shape : {tied, untied}) {
    for (const char* weights : {"bf16", "q8", "q4"}) {
      for (const char* layer_types : {"plain", "w=2"}) {
        const auto model =
            random_model(shape, layer_types, format(weights), kernels::make_backend("auto", 1));
        EXPECT_EQ(engine::weight_bytes(model->config, format(weights)), model->weights.bytes())
            << shape << weights << layer_types;
      }
    }
  }
}

}  // namespace
}  // namespace condensed::eval
