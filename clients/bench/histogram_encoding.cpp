#include "clients/bench/histogram_encoding.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <optional>
#include <vector>
#include <zlib.h>

#include "clients/cpp/base64.h"

namespace condensed::bench {

namespace {

// The published encoding: https://github.com/HdrHistogram/HdrHistogram, V2. Numbers are big-endian.
constexpr std::uint32_t kCompressedCookie = 0x1c849304 | 0x10;
constexpr std::uint32_t kCookie = 0x1c849303 | 0x10;
constexpr std::size_t kHeaderBytes = 40;
constexpr std::size_t kMaxPayloadBytes = 32 << 20;         // more than 5 digits over 63 bits take
constexpr std::int64_t kMaxCount = std::int64_t{1} << 53;  // what doubles count exactly
constexpr std::int64_t kHour_ns = 3'600'000'000'000;

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

/// ZigZag LEB128 of 64 bits in at most 9 bytes, the last of which is whole.
void put_count(std::string& out, std::int64_t count) {
  auto value = (static_cast<std::uint64_t>(count) << 1) ^ static_cast<std::uint64_t>(count >> 63);
  for (int n = 0; n < 8 && value >= 0x80; ++n, value >>= 7) {
    out.push_back(static_cast<char>(value | 0x80));
  }
  out.push_back(static_cast<char>(value));
}

std::string payload_of(const LatencyHistogram& histogram) {
  std::string counts;
  std::int64_t zeros = 0;
  for (const std::int64_t count : histogram.counts()) {
    if (count == 0) {
      ++zeros;
      continue;
    }
    if (zeros > 0) {
      put_count(counts, zeros == 1 ? 0 : -zeros);  // a run of them as one negative number
      zeros = 0;
    }
    put_count(counts, count);
  }
  std::string out;
  put(out, kCookie, 4);
  put(out, counts.size(), 4);
  put(out, 0, 4);  // not shifted
  put(out, static_cast<std::uint64_t>(histogram.significant_digits()), 4);
  put(out, 1, 8);  // the lowest value told apart from 0
  put(out, static_cast<std::uint64_t>(std::max(kHour_ns, histogram.max())), 8);
  put(out, std::bit_cast<std::uint64_t>(1.0), 8);  // factor of the values
  return out + counts;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  std::uint64_t number(std::size_t n_bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < n_bytes; ++i) {
      value = value << 8 | byte();
    }
    return value;
  }

  std::int64_t count() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const std::uint64_t part = byte();
      if (shift == 56) {  // the ninth
        value |= part << shift;
        break;
      }
      value |= (part & 0x7f) << shift;
      if ((part & 0x80) == 0) {
        break;
      }
    }
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
  }

  std::string_view rest() const { return bytes_; }

 private:
  std::uint64_t byte() {
    if (bytes_.empty()) {
      throw BadHistogram("a histogram's encoding ends too early");
    }
    const auto value = static_cast<unsigned char>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }

  std::string_view bytes_;
};

std::string inflated(std::string_view compressed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) {
    throw BadHistogram("zlib cannot be used");
  }
  std::string out;
  // zlib's interface takes a pointer to what it only reads.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  int result = Z_OK;
  while (result == Z_OK && out.size() < kMaxPayloadBytes) {
    const std::size_t had = out.size();
    out.resize(had + 65536);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + had);
    stream.avail_out = 65536;
    result = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
  }
  const bool all_read = stream.avail_in == 0;
  inflateEnd(&stream);
  if (result != Z_STREAM_END || !all_read) {
    throw BadHistogram("a histogram's compressed part is damaged");
  }
  return out;
}

void expect(std::uint64_t found, std::uint64_t expected, const char* what) {
  if (found != expected) {
    throw BadHistogram(std::string("a histogram's ") + what + " is " + std::to_string(found) + ", expected " +
                       std::to_string(expected));
  }
}

void read_counts(Reader& reader, LatencyHistogram& histogram) {
  const std::size_t limit = histogram.index_limit();
  std::size_t index = 0;
  while (!reader.rest().empty()) {
    const std::int64_t count = reader.count();
    const std::uint64_t skipped = count > 0 ? 1 : count == 0 ? 1 : -static_cast<std::uint64_t>(count);
    if (skipped > limit - index) {
      throw BadHistogram("a histogram has counts beyond the largest value");
    }
    if (count > kMaxCount - histogram.count()) {
      throw BadHistogram("a histogram counts more than " + std::to_string(kMaxCount));
    }
    if (count > 0) {
      histogram.add_at(index, count);
    }
    index += skipped;
  }
}

void append_line(std::string& out, const char* format, auto... values) {
  char line[160];
  const int n = std::snprintf(line, sizeof(line), format, values...);
  out.append(line, static_cast<std::size_t>(n));
}

}  // namespace

std::string encoded(const LatencyHistogram& histogram) {
  const std::string payload = payload_of(histogram);
  uLongf size = compressBound(payload.size());
  std::string compressed(size, '\0');
  if (compress(reinterpret_cast<Bytef*>(compressed.data()), &size,
               reinterpret_cast<const Bytef*>(payload.data()), payload.size()) != Z_OK) {
    throw std::runtime_error("zlib cannot compress a histogram: no memory");
  }
  std::string out;
  put(out, kCompressedCookie, 4);
  put(out, size, 4);
  return client::to_base64(out.append(compressed, 0, size));
}

LatencyHistogram decoded(std::string_view text) {
  const std::optional<std::string> bytes = client::from_base64(text);
  if (!bytes) {
    throw BadHistogram("a histogram's encoding is not base64");
  }
  Reader outer(*bytes);
  expect(outer.number(4), kCompressedCookie, "cookie of the V2 compressed encoding");
  const std::uint64_t compressed_bytes = outer.number(4);
  expect(outer.rest().size(), compressed_bytes, "compressed size");
  const std::string payload = inflated(outer.rest());
  Reader reader(payload);
  expect(reader.number(4), kCookie, "cookie of the V2 encoding");
  expect(reader.number(4) + kHeaderBytes, payload.size(), "payload size");
  expect(reader.number(4), 0, "shift");
  const std::uint64_t digits = reader.number(4);
  if (digits < 1 || digits > 5) {
    throw BadHistogram("a histogram has 1 to 5 significant digits, not " + std::to_string(digits));
  }
  expect(reader.number(8), 1, "lowest value");
  reader.number(8);  // the highest value: ours grow
  expect(reader.number(8), std::bit_cast<std::uint64_t>(1.0), "factor of values");
  LatencyHistogram histogram(static_cast<int>(digits));
  read_counts(reader, histogram);
  return histogram;
}

std::string percentile_text(const LatencyHistogram& histogram) {
  const auto ms = [](double value_ns) { return value_ns / 1e6; };
  constexpr int digits = 6;  // down to ns
  std::string out = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
  for (const LatencyHistogram::Percentile& each : histogram.percentiles()) {
    append_line(out, "%12.*f %2.12f %10lld", digits, ms(static_cast<double>(each.value_ns)), each.quantile,
                static_cast<long long>(each.count_up_to));
    if (each.quantile < 1) {
      append_line(out, " %14.2f", 1 / (1 - each.quantile));
    }
    out += "\n";
  }
  append_line(out, "#[Mean    = %12.*f, StdDeviation   = %12.*f]\n", digits, ms(histogram.mean()), digits,
              ms(histogram.standard_deviation()));
  append_line(out, "#[Max     = %12.*f, Total count    = %12lld]\n", digits,
              ms(static_cast<double>(histogram.max())), static_cast<long long>(histogram.count()));
  append_line(out, "#[Buckets = %12zu, SubBuckets     = %12lld]\n", histogram.bucket_count(),
              static_cast<long long>(histogram.sub_bucket_count()));
  return out;
}

}  // namespace condensed::bench
