#include "kernels/cuda/slab.h"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace condensed::kernels::cuda {

void Slab::add_free(Blocks::iterator block) {
  block->second.free = true;
  free_.emplace(block->second.bytes, block->first);
}

void Slab::remove_free(Blocks::iterator block) {
  const auto [first, end] = free_.equal_range(block->second.bytes);
  free_.erase(std::find_if(first, end, [&](const auto& entry) { return entry.second == block->first; }));
  block->second.free = false;
}

Slab::Blocks::iterator Slab::find_free(std::size_t bytes) {
  const auto fitting = free_.lower_bound(bytes);
  if (fitting == free_.end()) {
    return blocks_.end();
  }
  const auto [first, end] = free_.equal_range(fitting->first);
  const auto lowest =
      std::min_element(first, end, [](const auto& a, const auto& b) { return a.second < b.second; });
  return blocks_.find(lowest->second);
}

std::byte* Slab::take(std::size_t bytes) {
  bytes = (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  auto block = find_free(bytes);
  if (block == blocks_.end()) {
    std::size_t region = bytes < region_bytes_ / 8 ? region_bytes_ : bytes;
    std::byte* data = grow_(region);
    if (data == nullptr && region > bytes) {
      region = bytes;  // what is left may still do
      data = grow_(region);
    }
    if (data == nullptr) {
      return nullptr;
    }
    held_ += region;
    block = blocks_.emplace(data, Block{.bytes = region, .first = true}).first;
  } else {
    remove_free(block);
  }
  if (const std::size_t rest = block->second.bytes - bytes; rest > 0) {
    block->second.bytes = bytes;
    add_free(blocks_.emplace(block->first + bytes, Block{.bytes = rest}).first);
  }
  used_ += bytes;
  return block->first;
}

/// Two free neighbours that are in no list.
Slab::Blocks::iterator Slab::join(Blocks::iterator low, Blocks::iterator high) {
  low->second.bytes += high->second.bytes;
  blocks_.erase(high);
  return low;
}

bool Slab::add_region(std::size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::byte* data = grow_(bytes);
  if (data == nullptr) {
    return false;
  }
  held_ += bytes;
  add_free(blocks_.emplace(data, Block{.bytes = bytes, .first = true}).first);
  return true;
}

void Slab::give_back(std::byte* data) {
  auto block = blocks_.find(data);
  assert(block != blocks_.end() && !block->second.free);
  used_ -= block->second.bytes;
  if (const auto next = std::next(block); next != blocks_.end() && next->second.free && !next->second.first) {
    remove_free(next);
    block = join(block, next);
  }
  if (block != blocks_.begin() && !block->second.first) {
    if (const auto before = std::prev(block); before->second.free) {
      remove_free(before);
      block = join(before, block);
    }
  }
  add_free(block);
}

}  // namespace condensed::kernels::cuda
