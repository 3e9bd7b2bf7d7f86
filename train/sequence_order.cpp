#include "train/sequence_order.h"

#include <cassert>
#include <numeric>
#include <string>
#include <utility>

#include <pcg_random.hpp>

#include "engine/input_error.h"

namespace condensed::train {

SequenceOrder::SequenceOrder(const TokenFile& tokens, std::int64_t block_tokens, std::uint64_t seed,
                             std::int64_t first_token)
    : tokens_(tokens),
      block_tokens_(block_tokens),
      seed_(seed),
      first_token_(first_token),
      // One block less: it is what the epochs' offsets move in. One token more: the last one's prediction.
      n_blocks_((tokens.size() - 1) / block_tokens - 1) {
  if (n_blocks_ < 1) {
    throw engine::InputError(tokens.path().string() + ": has " + std::to_string(tokens.size()) +
                             " tokens; sequences of " + std::to_string(block_tokens) + " need at least " +
                             std::to_string(2 * block_tokens + 1));
  }
}

void SequenceOrder::shuffle(std::int64_t epoch) {
  pcg64 random(seed_, static_cast<std::uint64_t>(epoch));
  offset_ = static_cast<std::int64_t>(random(static_cast<std::uint64_t>(block_tokens_)));
  blocks_.resize(static_cast<std::size_t>(n_blocks_));
  std::iota(blocks_.begin(), blocks_.end(), 0);
  // Fisher and Yates; std::shuffle's order is the library's own affair.
  for (std::size_t left = blocks_.size(); left > 1; --left) {
    std::swap(blocks_[left - 1], blocks_[static_cast<std::size_t>(random(left))]);
  }
  epoch_ = epoch;
}

torch::Tensor SequenceOrder::sequences(std::int64_t tokens_read, std::int64_t n, std::int64_t length) {
  assert(tokens_read % length == 0 && block_tokens_ % length == 0);
  torch::Tensor out = torch::empty({n, length + 1}, torch::kInt64);
  auto* row = out.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i, row += length + 1) {
    const std::int64_t at = tokens_read + i * length;
    if (const std::int64_t epoch = at / (n_blocks_ * block_tokens_); epoch != epoch_) {
      shuffle(epoch);
    }
    const std::int64_t block = blocks_[static_cast<std::size_t>(at / block_tokens_ % n_blocks_)];
    const std::int64_t begin = offset_ + block * block_tokens_ + at % block_tokens_;
    const std::int64_t lead = first_token_ >= 0 ? 1 : 0;
    if (lead == 1) {
      row[0] = first_token_;
    }
    for (std::int64_t j = lead; j <= length; ++j) {
      row[j] = tokens_[begin + j - lead];
    }
  }
  return out;
}

}  // namespace condensed::train
