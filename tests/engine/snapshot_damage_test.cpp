// Snapshots that are not what encode_snapshot() wrote, and those that are.

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <random>
#include <xxhash.h>
#include <zstd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "engine/snapshot_fields.h"
#include "engine/snapshot_file.h"
#include "tests/engine/engine_calls.h"
#include "tests/engine/scratch_folder.h"

namespace condensed::engine {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr std::int64_t kMaxWindow = 65536;
constexpr std::size_t kCacheSizeAt = 32;

const SnapshotModel kModel{.fingerprint = "f00d",
                           .shape = {.n_owners = 2, .n_kv_heads = 1, .head_dim = 4},
                           .vocab_size = 300,
                           .has_text = true};

/// One of any kind: empty, before the window is full, past it; a character begun, a generation interrupted.
SessionSnapshot random_snapshot(std::mt19937_64& random) {
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  const auto tokens = [&](std::int64_t n) {
    std::vector<std::int32_t> out(static_cast<std::size_t>(n));
    for (std::int32_t& token : out) token = static_cast<std::int32_t>(below(300));
    return out;
  };
  SessionSnapshot out;
  out.window = {.sinks = below(5), .window = 1 + below(40)};
  out.place.position = below(4) == 0 ? 0 : below(100);
  out.place.n_window = below(
      std::min(out.window.window, std::max<std::int64_t>(0, out.place.position - out.window.sinks)) + 1);
  out.unread = tokens(out.place.position == 0 ? below(2) : 1 + below(3));
  const std::int64_t position = out.position();
  out.history = tokens(position == 0 ? 0 : 1 + below(position));
  out.text_start = below(2);
  constexpr std::array<const char*, 5> begun{"", "\xE2", "\xE2\x82", "\xF0\x9F\x98", "\xC3"};
  out.text = TextStream::State{.at_start = below(2) == 0, .incomplete = begun[below(begun.size())]};
  out.n_read_since_generation = below(1000);
  if (below(2) == 0) {
    GenerationState generation;
    GenerateRequest& request = generation.request;
    request.ignore_eos = below(2) == 0;
    request.n_logprobs = static_cast<int>(below(22)) - 1;
    if (below(2) == 0) request.max_tokens = below(2) == 0 ? std::numeric_limits<std::int64_t>::max() : 7;
    SamplingOptions& sampling = request.sampling;
    std::uniform_real_distribution<double> unit(1e-9, 1);
    sampling.temperature = 3 * unit(random);
    sampling.top_k = static_cast<int>(below(100));
    sampling.top_p = unit(random);
    sampling.min_p = unit(random);
    sampling.repetition_penalty = 2 * unit(random);
    sampling.presence_penalty = -unit(random) / 3;
    sampling.frequency_penalty = unit(random) * 1e-7;
    sampling.penalty_window = static_cast<int>(below(1025));
    for (std::int64_t n = below(4); n > 0; --n) {
      sampling.logit_bias.emplace_back(static_cast<std::int32_t>(below(300)),
                                       static_cast<float>(100 * unit(random)) - 50);
    }
    generation.random = {.seed = random(), .n_drawn = random()};  // every other one beyond 2^63
    generation.n_tokens = below(1 << 20);
    request.stop = {"the \xE2\x82\xAC end\"\\\n", "other"};
    generation.held_text = request.stop[0].substr(0, std::array<std::size_t, 4>{0, 3, 7, 11}[below(4)]);
    out.generation = std::move(generation);
  }
  out.cache.resize(cache::CondensedCache::saved_bytes(kModel.shape, out.window, out.place));
  const bool compressible = below(2) == 0;
  for (std::byte& byte : out.cache) byte = static_cast<std::byte>(compressible ? 3 : random());
  return out;
}

/// The same in every bit: fields as they are written, and the cache.
void expect_equal(const SessionSnapshot& a, const SessionSnapshot& b) {
  EXPECT_EQ(write_snapshot_fields(a, kModel), write_snapshot_fields(b, kModel));
  EXPECT_EQ(a.cache, b.cache);
}

/// Refused, or what it was.
void expect_refused_or(const SessionSnapshot& original, const Bytes& damaged) {
  try {
    expect_equal(decode_snapshot(damaged, kModel, kMaxWindow), original);
  } catch (const InputError& refused) {
    EXPECT_THAT(refused.what(), HasSubstr("snapshot: "));
  }
}

/// A file whose checksums are right, whatever it says.
Bytes forged(std::string_view fields, std::span<const std::byte> stored, std::uint64_t cache_bytes,
             std::uint32_t compression) {
  Bytes out(kSnapshotHeaderBytes);
  const auto put = [&](std::size_t at, const void* from, std::size_t n) { std::memcpy(&out[at], from, n); };
  const std::uint32_t version = 1;
  const std::uint64_t fields_bytes = fields.size();
  const std::uint64_t stored_bytes = stored.size();
  put(0, "CONDSNAP", 8);
  put(8, &version, 4);
  put(12, &compression, 4);
  put(16, &fields_bytes, 8);
  put(24, &stored_bytes, 8);
  put(kCacheSizeAt, &cache_bytes, 8);
  XXH128_canonical_t checksum;
  XXH128_canonicalFromHash(&checksum, XXH3_128bits(stored.data(), stored.size()));
  put(48, &checksum, 16);
  const std::uint64_t seed = XXH3_64bits(out.data(), out.size());
  const std::uint64_t fields_checksum = XXH3_64bits_withSeed(fields.data(), fields.size(), seed);
  put(40, &fields_checksum, 8);
  const auto bytes = std::as_bytes(std::span(fields));
  out.insert(out.end(), bytes.begin(), bytes.end());
  out.insert(out.end(), stored.begin(), stored.end());
  return out;
}

/// Fields of a stream of 3 tokens, 2 of them in the cache, with one member put instead of another.
std::string fields_with(const std::string& from, const std::string& to) {
  SessionSnapshot snapshot;
  snapshot.window = {.sinks = 1, .window = 8};
  snapshot.place = {.position = 2, .n_window = 1};
  snapshot.unread = {5};
  snapshot.history = {3, 4, 5};
  snapshot.text = TextStream::State{};
  GenerationState generation;
  generation.request.stop = {"stop"};
  generation.held_text = "st";
  snapshot.generation = generation;
  std::string fields = write_snapshot_fields(snapshot, kModel);
  const std::size_t at = fields.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in " << fields;
  return fields.replace(at, from.size(), to);
}

TEST(SnapshotDamage, WhatIsWrittenIsReadBackBitForBit) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 500; ++i) {
    const SessionSnapshot snapshot = random_snapshot(random);
    const Bytes file = encode_snapshot(snapshot, kModel);
    const SessionSnapshot found = decode_snapshot(file, kModel, kMaxWindow);
    expect_equal(found, snapshot);
    ASSERT_EQ(found.generation.has_value(), snapshot.generation.has_value());
    if (found.generation) {
      EXPECT_EQ(found.generation->random.seed, snapshot.generation->random.seed);
      EXPECT_EQ(found.generation->random.n_drawn, snapshot.generation->random.n_drawn);
      EXPECT_EQ(found.generation->held_text, snapshot.generation->held_text);
      EXPECT_EQ(found.generation->request.sampling.logit_bias,
                snapshot.generation->request.sampling.logit_bias);
      EXPECT_EQ(found.generation->request.sampling.temperature,
                snapshot.generation->request.sampling.temperature);
    }
    EXPECT_EQ(found.text->incomplete, snapshot.text->incomplete);
    EXPECT_EQ(encode_snapshot(found, kModel), file);
  }
}

TEST(SnapshotDamage, DamagedFilesAreRefused) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 500; ++i) {
    const SessionSnapshot snapshot = random_snapshot(random);
    const Bytes file = encode_snapshot(snapshot, kModel);
    Bytes damaged = file;
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
      damaged[random() % damaged.size()] ^= static_cast<std::byte>(1U << (random() % 8));
    }
    expect_refused_or(snapshot, damaged);
    const auto cut = static_cast<std::ptrdiff_t>(random() % file.size());
    EXPECT_THROW(decode_snapshot(Bytes(file.begin(), file.begin() + cut), kModel, kMaxWindow), InputError);
    Bytes longer = file;
    longer.resize(file.size() + 1 + random() % 100);
    EXPECT_THROW(decode_snapshot(longer, kModel, kMaxWindow), InputError);
    const Bytes other = encode_snapshot(random_snapshot(random), kModel);
    Bytes mixed = file;  // its first half, and then another's bytes
    const auto half = static_cast<std::ptrdiff_t>(std::min(file.size(), other.size()) / 2);
    std::copy(other.begin() + half, other.begin() + std::min(file.size(), other.size()),
              mixed.begin() + half);
    expect_refused_or(snapshot, mixed);
  }
}

TEST(SnapshotDamage, HeadersThatPromiseTooMuchCostNothing) {
  std::mt19937_64 random(3);
  const SessionSnapshot snapshot = random_snapshot(random);
  const Bytes file = encode_snapshot(snapshot, kModel);
  for (const std::size_t at : {std::size_t{16}, std::size_t{24}, kCacheSizeAt}) {
    for (const std::uint64_t size : {std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{0} - 63}) {
      Bytes damaged = file;
      std::memcpy(&damaged[at], &size, sizeof(size));
      EXPECT_THROW(decode_snapshot(damaged, kModel, kMaxWindow), InputError);
    }
  }
  const std::size_t two_tokens = 2 * kModel.shape.bytes_per_token();
  const std::string fields = fields_with("\"sinks\":1", "\"sinks\":1");
  EXPECT_EQ(decode_snapshot(forged(fields, Bytes(two_tokens), two_tokens, 0), kModel, kMaxWindow).position(),
            3);
  EXPECT_THROW(decode_snapshot(forged(fields, Bytes(9), 9, 0), kModel, kMaxWindow), InputError);
  EXPECT_THROW(decode_snapshot(forged(fields, Bytes(9), two_tokens, 1), kModel, kMaxWindow), InputError);
  EXPECT_THROW(decode_snapshot(forged(fields, Bytes(two_tokens), two_tokens, 2), kModel, kMaxWindow),
               InputError);
  Bytes bomb(ZSTD_compressBound(std::size_t{64} << 20));  // 64 MiB of zeros, for a cache of two tokens
  const Bytes zeros(std::size_t{64} << 20);
  bomb.resize(ZSTD_compress(bomb.data(), bomb.size(), zeros.data(), zeros.size(), 1));
  EXPECT_THROW(decode_snapshot(forged(fields, bomb, two_tokens, 1), kModel, kMaxWindow), InputError);
  EXPECT_THROW(decode_snapshot(forged(fields, bomb, zeros.size(), 1), kModel, kMaxWindow), InputError);
}

TEST(SnapshotDamage, FieldsThatCannotBeAreRefused) {
  const std::string many_stops = [] {
    std::string out = "\"stop\":[\"stop\"";
    for (int i = 0; i < 1000; ++i) out += ",\"x\"";
    return out;
  }();
  const std::string many_tokens = [] {
    std::string out = "\"unread\":[5";
    for (int i = 0; i < 200000; ++i) out += ",5";
    return out;
  }();
  const std::vector<std::pair<std::string, std::string>> changes{
      {"\"unread\":[5]", "\"unread\":[]"},
      {"\"unread\":[5]", "\"unread\":[300]"},
      {"\"unread\":[5]", "\"unread\":[-1]"},
      {"\"unread\":[5]", "\"unread\":5"},
      {"\"unread\":[5", many_tokens},
      {"\"history\":[3,4,5]", "\"history\":[]"},
      {"\"history\":[3,4,5]", "\"history\":[1,2,3,4,5]"},
      {"\"history\":[3,4,5]", "\"history\":[3,4,1e9]"},
      {"\"window\":8", "\"window\":0"},
      {"\"window\":8", "\"window\":1073741824"},
      {"\"window\":8", "\"window\":9223372036854775807"},
      {"\"window\":8", "\"window\":18446744073709551615"},
      {"\"sinks\":1", "\"sinks\":-1"},
      {"\"sinks\":1", "\"sinks\":1073741824"},
      {"\"cache_position\":2", "\"cache_position\":9223372036854775807"},
      {"\"cache_position\":2", "\"cache_position\":-2"},
      {"\"cache_position\":2", "\"cache_position\":2.5"},
      {"\"window_tokens\":1", "\"window_tokens\":2"},
      {"\"window_tokens\":1", "\"window_tokens\":-1"},
      {"\"text_start\":0", "\"text_start\":2"},
      {"\"temperature\":\"1\"", "\"temperature\":\"nan\""},
      {"\"temperature\":\"1\"", "\"temperature\":\"inf\""},
      {"\"temperature\":\"1\"", "\"temperature\":\"\""},
      {"\"temperature\":\"1\"", "\"temperature\":\"1x\""},
      {"\"top_p\":\"1\"", "\"top_p\":\"nan\""},
      {"\"min_p\":\"0\"", "\"min_p\":\"-nan\""},
      {"\"top_k\":0", "\"top_k\":-1"},
      {"\"penalty_window\":64", "\"penalty_window\":2147483647"},
      {"\"logit_bias\":[]", "\"logit_bias\":[[300,\"1\"]]"},
      {"\"logit_bias\":[]", "\"logit_bias\":[[1,\"nan\"]]"},
      {"\"logit_bias\":[]", "\"logit_bias\":[[1]]"},
      {"\"logprobs\":-1", "\"logprobs\":21"},
      {"\"held_text\":\"st\"", "\"held_text\":\"no\""},
      {"\"held_text\":\"st\"", "\"held_text\":\"stop\""},
      {"\"stop\":[\"stop\"", many_stops},
      {"\"stop\":[\"stop\"", "\"stop\":[\"stop\",\"\""},
      {"\"stop\":[\"stop\"", "\"stop\":[\"stop\",\"" + std::string(257, 'x') + "\""},
      {"\"random_seed\":0", "\"random_seed\":-1"},
      {"\"random_seed\":0", "\"random_seed\":18446744073709551616"},
      {"\"tokens\":0", "\"tokens\":9223372036854775807"},
      {"\"incomplete\":[]", "\"incomplete\":[226,130,172]"},
      {"\"incomplete\":[]", "\"incomplete\":[128]"},
      {"\"incomplete\":[]", "\"incomplete\":[256]"},
      {"\"generation\":{", "\"generation\":" + std::string(100000, '[') + "{"},
      {"\"model\":\"f00d\"", "\"model\":\"beef\""},
      {"\"owners\":2", "\"owners\":3"},
  };
  for (const auto& [from, to] : changes) {
    const std::string fields = fields_with(from, to);
    const std::size_t bytes = 2 * kModel.shape.bytes_per_token();
    EXPECT_THROW(decode_snapshot(forged(fields, Bytes(bytes), bytes, 0), kModel, kMaxWindow), InputError)
        << to.substr(0, 100);
  }
}

TEST(SnapshotDamage, AnEngineGoesOnWhateverIsImported) {
  const ScratchFolder folder;
  EngineOptions options = small_options();
  options.max_window = 4096;
  Engine engine(small_model(), options);
  value(open(engine, {.session = {.name = "a"}, .input = std::string("It was a dark night")}));
  GenerateRequest request = greedy("a", 30);
  request.stop = {"no such text"};
  auto collector = std::make_shared<Collector>(30);
  request.max_tokens = 40;
  value(generate(engine, request, collector));
  collector->wait_tokens(30);
  value(fork(engine, "a", "interrupted"));
  const Bytes file = value(export_session(engine, "interrupted")).file;
  std::mt19937_64 random(4);
  for (int i = 0; i < 100; ++i) {
    Bytes damaged = file;
    if (i % 4 == 0) {
      damaged.resize(random() % damaged.size());
    } else {
      damaged[random() % damaged.size()] ^= static_cast<std::byte>(1U << (random() % 8));
    }
    EXPECT_EQ(error(import_session(engine, "x", damaged)).code, ErrorCode::snapshot_refused);
  }
  // A lie that holds together is somebody's own session, and harms nobody: a stream of 2^61 tokens whose
  // past is not known.
  std::uint64_t fields_bytes = 0;
  std::memcpy(&fields_bytes, &file[16], sizeof(fields_bytes));
  std::uint64_t cache_bytes = 0;
  std::memcpy(&cache_bytes, &file[kCacheSizeAt], sizeof(cache_bytes));
  std::uint32_t compression = 0;
  std::memcpy(&compression, &file[12], sizeof(compression));
  std::string fields(reinterpret_cast<const char*>(&file[kSnapshotHeaderBytes]), fields_bytes);
  const auto replace = [&](const std::string& key, char end, const std::string& to) {
    const std::size_t at = fields.find("\"" + key + "\":");
    fields.replace(at, fields.find(end, at) - at, "\"" + key + "\":" + to);
  };
  replace("cache_position", ',', "2305843009213693951");
  replace("history", ']', "[7");
  const Bytes lie =
      forged(fields, std::span(file).subspan(kSnapshotHeaderBytes + fields_bytes), cache_bytes, compression);
  value(import_session(engine, "lie", lie));
  EXPECT_EQ(error(undo(engine, "lie", 5)).code, ErrorCode::undo_limit);
  GenerateRequest resume;
  resume.session.name = "lie";
  resume.resume = true;
  auto rest = std::make_shared<Collector>();
  value(generate(engine, resume, rest));
  EXPECT_EQ(rest->wait_done().reason, FinishReason::length);
  value(append(engine, "lie", std::string(" and so on")));
  collector->grant(100);
  engine.wake();
  EXPECT_EQ(collector->wait_done().completion_tokens, 40);
}

}  // namespace
}  // namespace condensed::engine
