#include <map>
#include <set>

#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "tests/train/scratch.h"
#include "train/sequence_order.h"

namespace condensed::train {
namespace {

class TokenOrder : public Scratch {
 protected:
  /// Token i is i.
  std::filesystem::path counted(int n) const {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
      tokens[i] = i;
    }
    write_token_file(folder_ / "counted", tokens, n);
    return folder_ / "counted";
  }
};

TEST_F(TokenOrder, FilesKeepShortAndLongIds) {
  for (const int vocab_size : {16, 65536, 65537, 200000}) {
    const std::vector<std::int32_t> tokens{0, 5, vocab_size - 1};
    write_token_file(folder_ / "f", tokens, vocab_size);
    const TokenFile file(folder_ / "f", vocab_size);
    ASSERT_EQ(file.size(), 3);
    EXPECT_EQ(file[1], 5);
    EXPECT_EQ(file[2], vocab_size - 1);
    EXPECT_THROW(TokenFile(folder_ / "f", vocab_size - 1), engine::InputError);
  }
  EXPECT_THROW(TokenFile(make_model("0_1_2_3") / "model.safetensors", 16), engine::InputError);
}

TEST_F(TokenOrder, AnEpochHasEveryBlockOnceAndTheNextHasThemInAnotherOrder) {
  const TokenFile file(counted(1000), 1000);
  SequenceOrder order(file, 50, 9, -1);
  constexpr int kBlocks = (1000 - 1) / 50 - 1;
  std::vector<std::set<std::int64_t>> starts(3);
  std::vector<std::vector<std::int64_t>> sequences(3);
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (int block = 0; block < kBlocks; ++block) {
      const auto rows = order.sequences((epoch * kBlocks + block) * 50, 2, 25);
      const std::int64_t first = rows[0][0].item<std::int64_t>();
      for (int i = 0; i < 26; ++i) {
        EXPECT_EQ(rows[0][i].item<std::int64_t>(), first + i);
        EXPECT_EQ(rows[1][i].item<std::int64_t>(), first + 25 + i);  // the block's other half
      }
      starts[epoch].insert(first);
      sequences[epoch].push_back(first);
    }
    EXPECT_EQ(starts[epoch].size(), kBlocks);
    for (const std::int64_t start : starts[epoch]) {
      EXPECT_EQ(start % 50, *starts[epoch].begin() % 50);
    }
  }
  EXPECT_NE(sequences[0], sequences[1]);
  EXPECT_NE(sequences[1], sequences[2]);
}

TEST_F(TokenOrder, DependsOnSeedAndPlaceOnly) {
  const TokenFile file(counted(1000), 1000);
  SequenceOrder one(file, 40, 3, -1);
  SequenceOrder same(file, 40, 3, -1);
  SequenceOrder other(file, 40, 4, -1);
  const auto later = same.sequences(3000, 4, 20);  // without what came before it
  for (std::int64_t read = 0; read < 3000; read += 40) {
    one.sequences(read, 2, 20);
  }
  EXPECT_TRUE(torch::equal(one.sequences(3000, 4, 20), later));
  EXPECT_FALSE(torch::equal(other.sequences(3000, 4, 20), later));
}

TEST_F(TokenOrder, TheFirstTokenLeadsAndNothingIsLost) {
  const TokenFile file(counted(1000), 1000);
  SequenceOrder plain(file, 40, 3, -1);
  SequenceOrder led(file, 40, 3, 1);
  const auto without = plain.sequences(80, 2, 20);
  const auto with = led.sequences(80, 2, 20);
  EXPECT_EQ(with.size(1), without.size(1));
  EXPECT_TRUE(torch::all(with.select(1, 0) == 1).item<bool>());
  EXPECT_TRUE(torch::equal(with.slice(1, 1), without.slice(1, 0, -1)));
}

TEST_F(TokenOrder, RefusesATextShorterThanItsSequences) {
  const TokenFile file(counted(100), 100);
  EXPECT_NO_THROW(SequenceOrder(file, 49, 1, -1));
  EXPECT_THROW(SequenceOrder(file, 50, 1, -1), engine::InputError);
}

}  // namespace
}  // namespace condensed::train
