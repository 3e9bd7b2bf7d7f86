#include "clients/bench/coarsening_bins.h"

#include <gtest/gtest.h>

namespace condensed::bench {
namespace {

struct Tally {
  std::int64_t n = 0;
  void merge(const Tally& other) { n += other.n; }
};

std::int64_t total(const CoarseningBins<Tally>& bins) {
  std::int64_t sum = 0;
  for (const auto& [index, tally] : bins.bins()) sum += tally.n;
  return sum;
}

TEST(CoarseningBins, StayWithinTheirNumberAndLoseNothing) {
  CoarseningBins<Tally> bins(1, 64, {});
  for (std::int64_t i = 0; i < 200000; ++i) {
    ++bins.at(i).n;
    ASSERT_LE(bins.bins().size(), 64U);
  }
  EXPECT_EQ(total(bins), 200000);
  EXPECT_EQ(bins.width(), 4096);
  ASSERT_EQ(bins.bins().size(), 49U);
  for (const auto& [index, tally] : bins.bins()) {
    EXPECT_EQ(tally.n, index < 48 ? 4096 : 200000 - 48 * 4096) << index;
  }
}

TEST(CoarseningBins, KeepWhatLiesFarApartApart) {
  CoarseningBins<Tally> bins(10, 4, {});
  for (const std::int64_t at : {1000005, 5, 1000015, 7, 1000025}) ++bins.at(at).n;
  EXPECT_EQ(bins.width(), 10);
  EXPECT_EQ(bins.bins().at(0).n, 2);
  EXPECT_EQ(bins.bins().at(100001).n, 1);
  ++bins.at(25).n;  // a fifth
  EXPECT_EQ(bins.width(), 20);
  EXPECT_EQ(bins.bins().at(0).n, 2);
  EXPECT_EQ(bins.bins().at(1).n, 1);
  EXPECT_EQ(bins.bins().at(50000).n, 2);
  EXPECT_EQ(total(bins), 6);
}

}  // namespace
}  // namespace condensed::bench
