#include "engine/memory_plan.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/random_weights.h"
#include "engine/transformer.h"
#include "kernels/make_backend.h"
#include "tests/kernels/forwarding_backend.h"

namespace condensed::engine {
namespace {

/// Counts what is allocated.
class CountingBackend : public kernels::test::ForwardingBackend {
 public:
  CountingBackend() : ForwardingBackend(kernels::make_backend("reference", 1)) {}

  kernels::Memory allocate(std::size_t bytes) override {
    allocated += bytes;
    return ForwardingBackend::allocate(bytes);
  }
  std::size_t allocated = 0;
};

TEST(MemoryPlan, TheLargestBatchFillsTheMemory) {
  EXPECT_EQ(largest_batch(100, 40, 10), 6);
  EXPECT_EQ(largest_batch(99, 40, 10), 5);
  EXPECT_EQ(largest_batch(49, 40, 10), 0);
  EXPECT_EQ(largest_batch(30, 40, 10), 0);
}

TEST(MemoryPlan, CountsWhatTransformersAllocate) {
  for (const char* name : {"condensed-w2", "plain-llama"}) {
    const auto config =
        read_model_config(std::filesystem::path(CONDENSED_TESTS_DIR) / "golden" / name / "config.json");
    auto backend = std::make_unique<CountingBackend>();
    CountingBackend& counting = *backend;
    const auto model =
        make_model("random", std::make_unique<RandomWeights>(config, WeightFormat{}), std::move(backend));
    for (const std::int64_t rows : {1, 17}) {
      const std::size_t before = counting.allocated;
      const Transformer transformer(*model, rows);
      const auto expected = static_cast<double>(rows) * static_cast<double>(workspace_bytes_per_row(config));
      EXPECT_NEAR(static_cast<double>(counting.allocated - before), expected, expected / 100);
    }
    const MemoryPlan plan = plan_memory(config, WeightFormat{}, kernels::DType::f16, {4, 60}, 17);
    EXPECT_EQ(plan.weights, model->weights.bytes());
    EXPECT_EQ(plan.workspace, 17 * workspace_bytes_per_row(config));
    EXPECT_EQ(plan.session, 64 * 2 * 2 * 2 * 16 * (name[0] == 'p' ? 6U : 3U));
  }
}

TEST(MemoryPlan, ExplainsTheArithmetic) {
  const MemoryPlan plan{.weights = 13'000'000'000, .workspace = 1'000'000'000, .session = 500'000'000};
  EXPECT_EQ(plan.sessions_in(24'000'000'000), 20);
  EXPECT_EQ(
      plan.explain(24'000'000'000),
      "13.00 GB of weights and 1.00 GB of workspace, of 24.00 GB that are free, leave 10.00 GB: room for 20 "
      "sessions of 0.50 GB each");
  MemoryPlan with_more = plan;
  with_more.kept = 1'100'000'000;
  EXPECT_EQ(with_more.sessions_in(24'000'000'000), 17);
  EXPECT_EQ(
      with_more.explain(24'000'000'000),
      "13.00 GB of weights and 1.00 GB of workspace, and 1.10 GB for what steps take beside, of 24.00 GB "
      "that are free, leave 8.90 GB: room for 17 sessions of 0.50 GB each");
  EXPECT_EQ(plan.sessions_in(8'000'000'000), 0);
  EXPECT_EQ(plan.explain(8'000'000'000),
            "13.00 GB of weights and 1.00 GB of workspace, of 8.00 GB that are free, lack 6.00 GB");
}

}  // namespace
}  // namespace condensed::engine
