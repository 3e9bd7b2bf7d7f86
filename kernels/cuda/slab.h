#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <vector>

namespace condensed::kernels::cuda {

/// Shares out a few large regions of memory, so that blocks come and go without a call of the driver. Blocks
/// begin at multiples of 256 bytes; neighbours that are free become one. Knows addresses only and touches
/// none of them.
class Slab {
 public:
  static constexpr std::size_t kAlignment = 256;

  /// A region of at least that many bytes, null if there is no room. Regions are never given back.
  using Grow = std::function<std::byte*(std::size_t bytes)>;

  /// region_bytes: what to ask `grow` for where blocks are small. One of an eighth or more has a region of
  /// its size: what it left of a larger one could stay a hole for ever.
  Slab(std::size_t region_bytes, Grow grow) : region_bytes_(region_bytes), grow_(std::move(grow)) {}

  /// Null if there is no room. The smallest free block that fits, the lowest of these.
  std::byte* take(std::size_t bytes);
  /// Has a region of that many bytes ready; false: there is no room.
  bool add_region(std::size_t bytes);
  /// data: from take(), once.
  void give_back(std::byte* data);

  std::size_t held_bytes() const { return held_; }
  std::size_t used_bytes() const { return used_; }
  std::size_t largest_free_bytes() const { return free_.empty() ? 0 : free_.rbegin()->first; }

 private:
  struct Block {
    std::size_t bytes = 0;
    bool free = false;
    bool first = false;  // of its region: what stands before belongs to another
  };
  using Blocks = std::map<std::byte*, Block>;

  Blocks::iterator find_free(std::size_t bytes);
  void add_free(Blocks::iterator block);
  void remove_free(Blocks::iterator block);
  Blocks::iterator join(Blocks::iterator low, Blocks::iterator high);

  std::size_t region_bytes_;
  Grow grow_;
  Blocks blocks_;
  std::multimap<std::size_t, std::byte*> free_;  // by size
  std::size_t held_ = 0;
  std::size_t used_ = 0;
};

}  // namespace condensed::kernels::cuda
