#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace condensed::cache {

/// What one cached token holds, for every layer that owns keys and values.
struct CacheShape {
  int n_owners = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  kernels::DType dtype = kernels::DType::f32;

  std::size_t bytes_per_token() const {
    return 2 * static_cast<std::size_t>(n_owners) * n_kv_heads *
           static_cast<std::size_t>(kernels::row_bytes(dtype, head_dim));
  }
};

/// How much of the stream a session remembers.
struct StreamWindow {
  std::int64_t sinks = 0;   // the first tokens of the stream, kept for ever
  std::int64_t window = 1;  // the latest tokens; at least 1

  std::int64_t capacity() const { return sinks + window; }
  bool operator==(const StreamWindow&) const = default;
};

/// Keys and values of tokens not yet in the cache: row r stands at stream position cache.position() + r.
/// keys, values: [rows, n_kv_heads, head_dim] float32, keys rotated by their stream position.
struct PendingRows {
  const float* keys = nullptr;
  const float* values = nullptr;
};

/// What a layer lets a token see.
struct Visibility {
  bool self = true;                 // false: the diagonal mask
  std::int64_t sliding_window = 0;  // cache positions, the token's own included; 0: no limit

  bool operator==(const Visibility&) const = default;
};

/// The keys and values of one stream: the sinks and a ring of the last `window` tokens, for each owning layer
/// (StreamingLLM, arXiv 2309.17453, on the condensed cache of arXiv 2405.10637).
///
/// Positions are positions in the cache, yet no key is ever rotated again: a window key keeps the rotation of
/// its place in the stream and a sink key that of its place in the cache, and a query is rotated once for
/// each of the two. What a token costs depends neither on the window nor on how far the stream has run.
///
/// Memory grows in blocks of `kBlockTokens` slots until the window is full, and never again. Not thread-safe.
class CondensedCache {
 public:
  static constexpr std::int64_t kBlockTokens = 64;

  /// The backend must outlive the cache.
  CondensedCache(kernels::Backend& backend, const CacheShape& shape, const StreamWindow& window);

  /// The memory of a session whose window is full.
  static std::size_t bytes_when_full(const CacheShape& shape, const StreamWindow& window) {
    return static_cast<std::size_t>(window.capacity()) * shape.bytes_per_token();
  }

  const CacheShape& shape() const { return shape_; }
  const StreamWindow& window() const { return window_; }

  /// Stream position of the next token: how many tokens have gone by.
  std::int64_t position() const { return position_; }
  /// Tokens held now.
  std::int64_t size() const { return n_sinks_ + n_window_; }
  std::int64_t evictions() const { return position_ - size(); }
  std::size_t bytes() const { return bytes_; }
  /// How far back truncate() can go.
  std::int64_t earliest() const { return evictions() == 0 ? 0 : position_ - n_window_; }

  /// Cache position of the token `row` places after the last cached one: what sink keys are rotated against.
  std::int64_t cache_position(std::int64_t row) const;

  /// Adds to `runs` what the token `row` places after the last cached one sees in layer-owner `owner`.
  void visible_runs(int owner, std::int64_t row, const Visibility& visibility, const PendingRows& pending,
                    std::vector<kernels::KvRun>& runs) const;

  /// The next n_rows tokens join, the oldest non-sink tokens leave.
  /// pending: [n_owners], each holding n_rows rows or more.
  void append(std::int64_t n_rows, std::span<const PendingRows> pending);

  /// Takes the memory that append() of n rows will need. After an exception of the backend nothing has
  /// changed that anybody sees.
  void make_room(std::int64_t n_rows);

  /// Where the next token's keys and values of an owner go; makes room for it. The token that leaves for it
  /// is still there: store, then advance().
  kernels::KvSlot next_slot(int owner);
  /// The next token has come in: what append() does once its keys and values are stored.
  void advance();

  /// Moves the stream on by n tokens as if they had come and gone: the window is left empty.
  /// The sinks must be full.
  void skip(std::int64_t n_tokens);

  /// Forgets the latest tokens: `position` is the next token's place again. What the window lost to them does
  /// not come back. earliest() ≤ position ≤ position().
  void truncate(std::int64_t position);

  /// What a copy needs beside the numbers; shape and window are the owner's to keep.
  struct Place {
    std::int64_t position = 0;
    std::int64_t n_window = 0;  // tokens held behind the sinks

    bool operator==(const Place&) const = default;
  };
  Place place() const { return {.position = position_, .n_window = n_window_}; }

  /// What is wrong with a place that a file claims for a cache of this window; null: nothing.
  static const char* defect(const StreamWindow& window, const Place& place);
  static std::size_t saved_bytes(const CacheShape& shape, const StreamWindow& window, const Place& place);

  /// Copies what is held, independent of where it lies: for each owner keys, then values
  /// [n_kv_heads, size()] of stored rows, tokens in the order of the stream. out: [saved_bytes].
  void save(std::span<std::byte> out) const;
  /// An empty cache becomes the saved one. saved: as save() wrote it, of the same shape and window.
  void restore(const Place& place, std::span<const std::byte> saved);

  /// Gives the memory back and keeps the numbers: nothing but put_back() may be called that looks into it.
  void release_memory();
  /// The saved content, whose place has not changed since, is there again, on a backend that may be another.
  /// After an exception of the backend there is no memory, as before.
  void put_back(kernels::Backend& backend, std::span<const std::byte> saved);

 private:
  struct Block {
    kernels::Memory memory;  // for each owner: keys [n_kv_heads, n_slots] stored rows, then values
    std::int64_t n_slots = 0;
  };

  std::int64_t slot_of(std::int64_t position) const;
  kernels::KvSlot slot_address(int owner, std::int64_t slot) const;
  void grow_to(std::int64_t n_slots);
  void move_on(std::int64_t n_tokens);
  template <typename Visit>
  void for_each_piece(const Visit& visit) const;
  void add_cached_runs(int owner, std::int64_t first, std::int64_t end, kernels::Frame frame,
                       std::vector<kernels::KvRun>& runs) const;
  void add_pending_run(std::int64_t first, std::int64_t end, kernels::Frame frame, const PendingRows& pending,
                       std::vector<kernels::KvRun>& runs) const;

  kernels::Backend* backend_;
  CacheShape shape_;
  StreamWindow window_;
  std::int64_t position_ = 0;
  std::int64_t n_sinks_ = 0;
  std::int64_t n_window_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Block> blocks_;
  std::vector<kernels::KvSlot> append_slots_;  // scratch of append()
};

}  // namespace condensed::cache
