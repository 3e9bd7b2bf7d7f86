#include "cache/condensed_cache.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace condensed::cache {

using kernels::DType;
using kernels::Frame;
using kernels::KvRun;
using kernels::KvSlot;

CondensedCache::CondensedCache(kernels::Backend& backend, const CacheShape& shape, const StreamWindow& window)
    : backend_(&backend), shape_(shape), window_(window) {
  assert(window.sinks >= 0 && window.window >= 1);
}

std::int64_t CondensedCache::cache_position(std::int64_t row) const {
  return std::min(size() + row, window_.capacity());
}

std::int64_t CondensedCache::slot_of(std::int64_t position) const {
  const std::int64_t sinks = window_.sinks;
  return position < sinks ? position : sinks + (position - sinks) % window_.window;
}

KvSlot CondensedCache::slot_address(int owner, std::int64_t slot) const {
  const Block& block = blocks_[slot / kBlockTokens];
  const std::int64_t row = kernels::row_bytes(shape_.dtype, shape_.head_dim);
  const std::int64_t head_bytes = block.n_slots * row;
  const std::int64_t plane_bytes = head_bytes * shape_.n_kv_heads;
  std::byte* keys = block.memory.get() + 2 * owner * plane_bytes + slot % kBlockTokens * row;
  return {
      .keys = keys, .values = keys + plane_bytes, .head_stride_bytes = static_cast<std::int32_t>(head_bytes)};
}

void CondensedCache::grow_to(std::int64_t n_slots) {
  std::int64_t allocated = static_cast<std::int64_t>(blocks_.size()) * kBlockTokens;
  while (allocated < n_slots) {
    // The last block is cut to what the window can ever use.
    const std::int64_t block_slots = std::min(kBlockTokens, window_.capacity() - allocated);
    const std::size_t block_bytes = static_cast<std::size_t>(block_slots) * shape_.bytes_per_token();
    blocks_.push_back({.memory = backend_->allocate(block_bytes), .n_slots = block_slots});
    bytes_ += block_bytes;
    allocated += kBlockTokens;
  }
}

void CondensedCache::add_cached_runs(int owner, std::int64_t first, std::int64_t end, Frame frame,
                                     std::vector<KvRun>& runs) const {
  while (first < end) {
    const std::int64_t slot = slot_of(first);
    // A run ends with its block and, at the ring's seam, with the last slot.
    const std::int64_t block_end = std::min((slot / kBlockTokens + 1) * kBlockTokens, window_.capacity());
    const std::int64_t n_tokens = std::min(end - first, block_end - slot);
    const KvSlot address = slot_address(owner, slot);
    runs.push_back(
        {.keys = address.keys,
         .values = address.values,
         .n_tokens = static_cast<std::int32_t>(n_tokens),
         .token_stride_bytes = static_cast<std::int32_t>(kernels::row_bytes(shape_.dtype, shape_.head_dim)),
         .head_stride_bytes = address.head_stride_bytes,
         .dtype = shape_.dtype,
         .frame = frame});
    first += n_tokens;
  }
}

void CondensedCache::add_pending_run(std::int64_t first, std::int64_t end, Frame frame,
                                     const PendingRows& pending, std::vector<KvRun>& runs) const {
  if (first >= end) {
    return;
  }
  const std::int64_t kv_dim = static_cast<std::int64_t>(shape_.n_kv_heads) * shape_.head_dim;
  const std::int64_t offset = (first - position_) * kv_dim;
  runs.push_back(
      {.keys = reinterpret_cast<const std::byte*>(pending.keys + offset),
       .values = reinterpret_cast<const std::byte*>(pending.values + offset),
       .n_tokens = static_cast<std::int32_t>(end - first),
       .token_stride_bytes = static_cast<std::int32_t>(kv_dim * std::int64_t{sizeof(float)}),
       .head_stride_bytes = static_cast<std::int32_t>(shape_.head_dim * std::int64_t{sizeof(float)}),
       .dtype = DType::f32,
       .frame = frame});
}

void CondensedCache::visible_runs(int owner, std::int64_t row, const Visibility& visibility,
                                  const PendingRows& pending, std::vector<KvRun>& runs) const {
  const std::int64_t query = position_ + row;
  // Sinks are counted in cache positions, the window in stream positions: distances agree where both apply.
  std::int64_t first_sink = 0;
  std::int64_t first_window = std::max(position_ - n_window_, query - window_.window);
  if (visibility.sliding_window > 0) {
    first_sink = std::max<std::int64_t>(0, cache_position(row) - visibility.sliding_window + 1);
    first_window = std::max(first_window, query - visibility.sliding_window + 1);
  }
  first_window = std::max(first_window, window_.sinks);
  const std::int64_t end = query + (visibility.self ? 1 : 0);
  const std::int64_t sinks_end = std::min(window_.sinks, end);

  add_cached_runs(owner, first_sink, std::min(sinks_end, n_sinks_), Frame::sink, runs);
  add_pending_run(std::max(first_sink, position_), sinks_end, Frame::sink, pending, runs);
  add_cached_runs(owner, first_window, std::min(end, position_), Frame::stream, runs);
  add_pending_run(std::max(first_window, position_), end, Frame::stream, pending, runs);
}

void CondensedCache::append(std::int64_t n_rows, std::span<const PendingRows> pending) {
  assert(static_cast<int>(pending.size()) == shape_.n_owners);
  const std::int64_t end = position_ + n_rows;
  const std::int64_t sinks_end = std::min(end, window_.sinks);
  // Of a long append only the last `window` tokens stay: each slot is written once.
  const std::int64_t first_kept = std::max({position_, end - window_.window, window_.sinks});
  const std::size_t kv_dim = static_cast<std::size_t>(shape_.n_kv_heads) * shape_.head_dim;

  const auto store = [&](std::int64_t first, std::int64_t last) {
    if (first >= last) {
      return;
    }
    for (std::int64_t position = first; position < last; ++position) {
      grow_to(slot_of(position) + 1);
    }
    const auto offset = static_cast<std::size_t>(first - position_) * kv_dim;
    const auto elements = static_cast<std::size_t>(last - first) * kv_dim;
    for (int owner = 0; owner < shape_.n_owners; ++owner) {
      append_slots_.clear();
      for (std::int64_t position = first; position < last; ++position) {
        append_slots_.push_back(slot_address(owner, slot_of(position)));
        append_slots_.back().row = static_cast<std::int32_t>(position - first);
      }
      backend_->store_kv({pending[owner].keys + offset, elements}, {pending[owner].values + offset, elements},
                         shape_.n_kv_heads, shape_.head_dim, shape_.dtype, append_slots_);
    }
  };
  store(position_, sinks_end);
  store(first_kept, end);
  move_on(n_rows);
}

void CondensedCache::move_on(std::int64_t n_tokens) {
  const std::int64_t end = position_ + n_tokens;
  n_sinks_ = std::max(n_sinks_, std::min(end, window_.sinks));
  n_window_ = std::min(window_.window, n_window_ + end - std::max(position_, std::min(end, window_.sinks)));
  position_ = end;
}

void CondensedCache::make_room(std::int64_t n_rows) {
  grow_to(std::min(position_ + n_rows, window_.capacity()));
}

KvSlot CondensedCache::next_slot(int owner) {
  const std::int64_t slot = slot_of(position_);
  grow_to(slot + 1);
  return slot_address(owner, slot);
}

void CondensedCache::advance() {
  move_on(1);
}

void CondensedCache::skip(std::int64_t n_tokens) {
  assert(n_sinks_ == window_.sinks && n_tokens >= 0);
  position_ += n_tokens;
  n_window_ = 0;
}

void CondensedCache::truncate(std::int64_t position) {
  assert(position >= earliest() && position <= position_);
  const std::int64_t dropped = position_ - position;
  n_window_ = std::max<std::int64_t>(0, n_window_ - dropped);
  n_sinks_ = std::min(n_sinks_, position);
  position_ = position;
}

const char* CondensedCache::defect(const StreamWindow& window, const Place& place) {
  if (place.position < 0 || place.position > std::numeric_limits<std::int64_t>::max() / 2) {
    return "its position is out of range";
  }
  const std::int64_t behind_sinks = std::max<std::int64_t>(0, place.position - window.sinks);
  if (place.n_window < 0 || place.n_window > std::min(window.window, behind_sinks)) {
    return "it holds another number of tokens than its position and window allow";
  }
  return nullptr;
}

std::size_t CondensedCache::saved_bytes(const CacheShape& shape, const StreamWindow& window,
                                        const Place& place) {
  const std::int64_t n_tokens = std::min(place.position, window.sinks) + place.n_window;
  return static_cast<std::size_t>(n_tokens) * shape.bytes_per_token();
}

/// visit(device, offset, bytes): one stretch of memory of each head of each owner, and where it stands among
/// what save() writes.
template <typename Visit>
void CondensedCache::for_each_piece(const Visit& visit) const {
  const auto row = static_cast<std::size_t>(kernels::row_bytes(shape_.dtype, shape_.head_dim));
  const std::size_t head_bytes = static_cast<std::size_t>(size()) * row;
  const auto visit_tokens = [&](std::int64_t first, std::int64_t end, std::size_t index) {
    while (first < end) {
      const std::int64_t slot = slot_of(first);
      const std::int64_t block_end = std::min((slot / kBlockTokens + 1) * kBlockTokens, window_.capacity());
      const auto n = static_cast<std::size_t>(std::min(end - first, block_end - slot));
      for (int owner = 0; owner < shape_.n_owners; ++owner) {
        const KvSlot address = slot_address(owner, slot);
        for (int head = 0; head < shape_.n_kv_heads; ++head) {
          const std::int64_t stride = std::int64_t{head} * address.head_stride_bytes;
          const std::size_t keys = 2 * static_cast<std::size_t>(owner) * shape_.n_kv_heads + head;
          const std::size_t values = keys + shape_.n_kv_heads;
          visit(std::span(address.keys + stride, n * row), keys * head_bytes + index * row);
          visit(std::span(address.values + stride, n * row), values * head_bytes + index * row);
        }
      }
      first += static_cast<std::int64_t>(n);
      index += n;
    }
  };
  visit_tokens(0, n_sinks_, 0);
  visit_tokens(position_ - n_window_, position_, static_cast<std::size_t>(n_sinks_));
}

void CondensedCache::save(std::span<std::byte> out) const {
  assert(out.size() == saved_bytes(shape_, window_, place()));
  for_each_piece([&](std::span<std::byte> device, std::size_t offset) {
    backend_->download(device, out.subspan(offset, device.size()));
  });
}

void CondensedCache::restore(const Place& place, std::span<const std::byte> saved) {
  assert(position_ == 0 && defect(window_, place) == nullptr);
  assert(saved.size() == saved_bytes(shape_, window_, place));
  position_ = place.position;
  n_sinks_ = std::min(place.position, window_.sinks);
  n_window_ = place.n_window;
  put_back(*backend_, saved);
}

void CondensedCache::release_memory() {
  blocks_.clear();
  bytes_ = 0;
}

void CondensedCache::put_back(kernels::Backend& backend, std::span<const std::byte> saved) {
  assert(blocks_.empty() && saved.size() == saved_bytes(shape_, window_, place()));
  backend_ = &backend;
  try {
    grow_to(std::min(position_, window_.capacity()));
    for_each_piece([&](std::span<std::byte> device, std::size_t offset) {
      backend_->upload(saved.subspan(offset, device.size()), device);
    });
  } catch (...) {
    release_memory();
    throw;
  }
}

}  // namespace condensed::cache
