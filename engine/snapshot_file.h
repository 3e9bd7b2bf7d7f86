#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "engine/session_snapshot.h"

/// A snapshot as a file holds it. Little-endian:
///   0  "CONDSNAP"
///   8  u32 version (1)
///   12 u32 compression of the cache: 0 none, 1 zstd
///   16 u64 bytes of the fields
///   24 u64 bytes of the cache as stored
///   32 u64 bytes of the cache
///   40 u64 XXH3 of bytes 0–39, 48–63 and the fields
///   48 16 bytes: XXH3 (128 bits) of the cache as stored
///   64 the fields, JSON; then the cache
namespace condensed::engine {

inline constexpr std::size_t kSnapshotHeaderBytes = 64;

std::vector<std::byte> encode_snapshot(const SessionSnapshot& snapshot, const SnapshotModel& model);

/// Throws InputError saying what is wrong with the bytes, or that they belong to another model. max_window:
/// most sinks and window together, which bounds the memory taken.
SessionSnapshot decode_snapshot(std::span<const std::byte> bytes, const SnapshotModel& model,
                                std::int64_t max_window);

/// How many bytes of the file its fields and what is before them take. beginning: kSnapshotHeaderBytes or
/// more. Throws InputError for what is no snapshot of this version.
std::size_t snapshot_fields_end(std::span<const std::byte> beginning);

/// What a file says of its session, without the cache. beginning: snapshot_fields_end() bytes. Throws as
/// decode_snapshot() does.
SessionSnapshot decode_snapshot_fields(std::span<const std::byte> beginning, const SnapshotModel& model);

}  // namespace condensed::engine
