#include "engine/snapshot_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <xxhash.h>
#include <zstd.h>

#include "engine/input_error.h"
#include "engine/snapshot_fields.h"

namespace condensed::engine {

namespace {

static_assert(std::endian::native == std::endian::little, "snapshots are little-endian");

constexpr std::array<char, 8> kMagic{'C', 'O', 'N', 'D', 'S', 'N', 'A', 'P'};
constexpr std::uint32_t kVersion = 1;
constexpr int kZstdLevel = 1;
constexpr double kWorthwhile = 0.95;  // of the plain size: above it, waking is faster without
constexpr std::uint64_t kMaxFieldsBytes = 64 << 20;

enum class Compression : std::uint32_t { none = 0, zstd = 1 };

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  Compression compression = Compression::none;
  std::uint64_t fields_bytes = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t cache_bytes = 0;
  std::uint64_t fields_checksum = 0;
  std::array<unsigned char, 16> cache_checksum{};
};
static_assert(sizeof(Header) == kSnapshotHeaderBytes && std::is_trivially_copyable_v<Header>);

[[noreturn]] void fail(const std::string& message) {
  throw InputError("snapshot: " + message);
}

std::array<unsigned char, 16> checksum_of(std::span<const std::byte> stored) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(stored.data(), stored.size()));
  return std::bit_cast<std::array<unsigned char, 16>>(canonical);
}

std::uint64_t fields_checksum_of(Header header, std::string_view fields) {
  header.fields_checksum = 0;
  return XXH3_64bits_withSeed(fields.data(), fields.size(), XXH3_64bits(&header, sizeof(header)));
}

Header read_header(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Header)) {
    fail("it ends after " + std::to_string(bytes.size()) + " bytes, before its header does");
  }
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kMagic) {
    fail("it does not begin as a snapshot does");
  }
  if (header.version != kVersion) {
    fail("it has version " + std::to_string(header.version) + ", this program reads version " +
         std::to_string(kVersion));
  }
  if (header.fields_bytes > kMaxFieldsBytes) {
    fail("its header is damaged");
  }
  return header;
}

std::string_view read_fields(std::span<const std::byte> bytes, const Header& header) {
  const std::size_t end = sizeof(header) + header.fields_bytes;
  if (bytes.size() < end) {
    fail("it ends after " + std::to_string(bytes.size()) + " bytes; its fields end at " +
         std::to_string(end));
  }
  const std::string_view fields(reinterpret_cast<const char*>(bytes.data()) + sizeof(header),
                                header.fields_bytes);
  if (fields_checksum_of(header, fields) != header.fields_checksum) {
    fail("its fields are damaged (checksum)");
  }
  return fields;
}

std::vector<std::byte> unpack(std::span<const std::byte> stored, const Header& header) {
  std::vector<std::byte> cache(header.cache_bytes);
  if (header.compression == Compression::none) {
    if (stored.size() != cache.size()) {
      fail("its cache has " + std::to_string(stored.size()) + " bytes, expected " +
           std::to_string(cache.size()));
    }
    std::copy(stored.begin(), stored.end(), cache.begin());
    return cache;
  }
  if (header.compression != Compression::zstd) {
    fail("its compression is unknown");
  }
  const std::size_t n = ZSTD_decompress(cache.data(), cache.size(), stored.data(), stored.size());
  if (ZSTD_isError(n) != 0 || n != cache.size()) {
    fail("its cache cannot be decompressed");
  }
  return cache;
}

void append(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::vector<std::byte> encode_snapshot(const SessionSnapshot& snapshot, const SnapshotModel& model) {
  const std::string fields = write_snapshot_fields(snapshot, model);
  std::vector<std::byte> packed(ZSTD_compressBound(snapshot.cache.size()));
  const std::size_t n =
      ZSTD_compress(packed.data(), packed.size(), snapshot.cache.data(), snapshot.cache.size(), kZstdLevel);
  const bool pays = ZSTD_isError(n) == 0 &&
                    static_cast<double>(n) < kWorthwhile * static_cast<double>(snapshot.cache.size());
  const std::span<const std::byte> stored =
      pays ? std::span<const std::byte>(packed).first(n) : std::span<const std::byte>(snapshot.cache);
  Header header;
  header.compression = pays ? Compression::zstd : Compression::none;
  header.fields_bytes = fields.size();
  header.stored_bytes = stored.size();
  header.cache_bytes = snapshot.cache.size();
  header.cache_checksum = checksum_of(stored);
  header.fields_checksum = fields_checksum_of(header, fields);
  std::vector<std::byte> out;
  out.reserve(sizeof(header) + fields.size() + stored.size());
  append(out, std::as_bytes(std::span(&header, 1)));
  append(out, std::as_bytes(std::span(fields)));
  append(out, stored);
  return out;
}

std::size_t snapshot_fields_end(std::span<const std::byte> beginning) {
  return sizeof(Header) + read_header(beginning).fields_bytes;
}

SessionSnapshot decode_snapshot_fields(std::span<const std::byte> beginning, const SnapshotModel& model) {
  const Header header = read_header(beginning);
  return read_snapshot_fields(read_fields(beginning, header), model);
}

SessionSnapshot decode_snapshot(std::span<const std::byte> bytes, const SnapshotModel& model,
                                std::int64_t max_window) {
  const Header header = read_header(bytes);
  SessionSnapshot snapshot = read_snapshot_fields(read_fields(bytes, header), model);
  if (snapshot.window.capacity() > max_window) {
    fail("its sinks and window together are " + std::to_string(snapshot.window.capacity()) + ", at most " +
         std::to_string(max_window) + " are allowed (max_window)");
  }
  const std::span<const std::byte> stored = bytes.subspan(sizeof(header) + header.fields_bytes);
  if (stored.size() != header.stored_bytes) {
    fail("its cache takes " + std::to_string(stored.size()) + " bytes, expected " +
         std::to_string(header.stored_bytes));
  }
  if (checksum_of(stored) != header.cache_checksum) {
    fail("its cache is damaged (checksum)");
  }
  // Before so much memory is taken.
  const std::size_t expected =
      cache::CondensedCache::saved_bytes(model.shape, snapshot.window, snapshot.place);
  if (header.cache_bytes != expected) {
    fail("its cache has " + std::to_string(header.cache_bytes) + " bytes, expected " +
         std::to_string(expected));
  }
  snapshot.cache = unpack(stored, header);
  return snapshot;
}

}  // namespace condensed::engine
