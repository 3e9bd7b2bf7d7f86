#pragma once

#include <cstdint>
#include <vector>

#include <torch/torch.h>

#include "train/token_file.h"

namespace condensed::train {

/// In which order a run reads its tokens: block after block of a shuffled epoch. What it reads next depends
/// on the seed and on how much it has read, and on nothing else, so that a run can stop and go on anywhere.
class SequenceOrder {
 public:
  /// block_tokens: a multiple of every sequence length asked for. first_token: id put before every sequence,
  /// or -1; a model meets it nowhere else and may learn to rest its attention there (arXiv 2309.17453,
  /// section 3.3). `tokens` must outlive this. Throws InputError when there is less than a block.
  SequenceOrder(const TokenFile& tokens, std::int64_t block_tokens, std::uint64_t seed,
                std::int64_t first_token);

  /// The n sequences after `tokens_read` tokens (a multiple of length): [n, length + 1] int64, of which the
  /// first `length` are a model's input and the last `length` what it is to predict.
  torch::Tensor sequences(std::int64_t tokens_read, std::int64_t n, std::int64_t length);

 private:
  void shuffle(std::int64_t epoch);

  const TokenFile& tokens_;
  std::int64_t block_tokens_;
  std::uint64_t seed_;
  std::int64_t first_token_;
  std::int64_t n_blocks_;
  std::int64_t epoch_ = -1;
  std::int64_t offset_ = 0;           // where this epoch's first block begins
  std::vector<std::int64_t> blocks_;  // [n_blocks], this epoch's order
};

}  // namespace condensed::train
