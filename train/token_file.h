#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/safetensors.h"

namespace condensed::train {

/// A text as token ids: a safetensors file with one U8 tensor `tokens`, [n, 2] (ids below 65,536) or [n, 4],
/// little-endian. Mapped: a corpus need not fit into memory.
class TokenFile {
 public:
  /// Throws InputError naming the file, also when a token is not below `vocab_size`.
  TokenFile(const std::filesystem::path& path, int vocab_size);

  const std::filesystem::path& path() const { return file_.path(); }
  std::int64_t size() const { return size_; }
  /// Token `index` in [0, size()).
  std::int64_t operator[](std::int64_t index) const;

 private:
  engine::SafetensorsFile file_;
  std::span<const std::byte> data_;
  std::int64_t size_ = 0;
  std::int64_t bytes_per_token_ = 0;
};

/// Throws InputError when the file cannot be written.
void write_token_file(const std::filesystem::path& path, std::span<const std::int32_t> tokens,
                      int vocab_size);

}  // namespace condensed::train
