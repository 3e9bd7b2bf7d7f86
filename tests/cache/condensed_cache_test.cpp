#include "cache/condensed_cache.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "cache/rotary_phase.h"
#include "kernels/make_backend.h"

namespace condensed::cache {
namespace {

using kernels::KvRun;

struct Shape {
  int n_owners = 2;
  int n_heads = 4;
  int n_kv_heads = 2;
  int head_dim = 6;
  int kv_dim() const { return n_kv_heads * head_dim; }
  int q_dim() const { return n_heads * head_dim; }
};

std::vector<double> frequencies(int head_dim) {
  std::vector<double> out;
  for (int i = 0; i < head_dim / 2; ++i) {
    out.push_back(std::pow(10000.0, -2.0 * i / head_dim));
  }
  return out;
}

std::vector<double> rotated(std::span<const float> x, int head_dim, std::int64_t position) {
  const std::vector<double> freq = frequencies(head_dim);
  const int half = head_dim / 2;
  std::vector<double> out(x.begin(), x.end());
  for (std::size_t head = 0; head < x.size(); head += head_dim) {
    for (int i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * freq[i];
      const double a = x[head + i];
      const double b = x[head + half + i];
      out[head + i] = a * std::cos(angle) - b * std::sin(angle);
      out[head + half + i] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
  return out;
}

/// StreamingLLM to the letter: keys are kept as they came, and every key is rotated to its place in the cache
/// whenever a query comes.
class LiteralStream {
 public:
  LiteralStream(Shape shape, StreamWindow window) : shape_(shape), window_(window) {}

  struct Token {
    std::vector<float> key;    // [kv_dim], unrotated
    std::vector<float> value;  // [kv_dim]
  };

  std::vector<double> attend(std::span<const float> query, const Token* self, std::int64_t sliding) const {
    std::vector<const Token*> seen;
    for (const Token& token : sinks_) seen.push_back(&token);
    for (const Token& token : recent_) seen.push_back(&token);
    const auto position = static_cast<std::int64_t>(seen.size());
    if (self != nullptr) seen.push_back(self);
    const std::vector<double> q = rotated(query, shape_.head_dim, position);
    std::vector<double> out(shape_.q_dim(), 0.0);
    for (int head = 0; head < shape_.n_heads; ++head) {
      const int kv = head / (shape_.n_heads / shape_.n_kv_heads) * shape_.head_dim;
      std::vector<double> weights;
      double total = 0;
      for (std::size_t j = 0; j < seen.size(); ++j) {
        const std::vector<double> k = rotated(seen[j]->key, shape_.head_dim, static_cast<std::int64_t>(j));
        double score = 0;
        for (int d = 0; d < shape_.head_dim; ++d) score += q[head * shape_.head_dim + d] * k[kv + d];
        const bool visible = sliding == 0 || static_cast<std::int64_t>(j) > position - sliding;
        weights.push_back(visible ? std::exp(score / std::sqrt(shape_.head_dim)) : 0.0);
        total += weights.back();
      }
      for (std::size_t j = 0; j < seen.size() && total > 0; ++j) {
        for (int d = 0; d < shape_.head_dim; ++d) {
          out[head * shape_.head_dim + d] += weights[j] / total * seen[j]->value[kv + d];
        }
      }
    }
    return out;
  }

  void join(Token token) {
    if (static_cast<std::int64_t>(sinks_.size()) < window_.sinks) {
      sinks_.push_back(std::move(token));
      return;
    }
    recent_.push_back(std::move(token));
    if (static_cast<std::int64_t>(recent_.size()) > window_.window) recent_.pop_front();
  }

  std::size_t size() const { return sinks_.size() + recent_.size(); }

 private:
  Shape shape_;
  StreamWindow window_;
  std::vector<Token> sinks_;
  std::deque<Token> recent_;
};

/// Runs random tokens, in slices of random length, through a CondensedCache and a LiteralStream.
/// shift: how far the stream jumps once the sinks are full.
void compare(std::mt19937& random, StreamWindow window, std::int64_t n_tokens, std::int64_t shift) {
  const Shape shape;
  const auto backend = kernels::make_backend("reference", 1);
  CondensedCache cache(
      *backend, {.n_owners = shape.n_owners, .n_kv_heads = shape.n_kv_heads, .head_dim = shape.head_dim},
      window);
  const RotaryPhase phase(frequencies(shape.head_dim));
  std::vector<LiteralStream> literal(shape.n_owners, LiteralStream(shape, window));
  std::normal_distribution<float> normal;
  const auto random_vector = [&](int n) {
    std::vector<float> out(n);
    std::generate(out.begin(), out.end(), [&] { return normal(random); });
    return out;
  };
  const auto rotate = [&](std::span<const float> x, std::int64_t position, std::span<float> out) {
    std::vector<float> angles(shape.head_dim);
    phase.angles(position, angles);
    backend->rotate(x, angles, shape.head_dim, out);
  };

  bool shifted = false;
  std::int64_t done = 0;
  while (done < n_tokens) {
    if (!shifted && cache.position() == window.sinks) {
      cache.skip(shift);
      shifted = true;
    }
    std::int64_t n = std::uniform_int_distribution<std::int64_t>(1, 7)(random);
    if (!shifted) n = std::min(n, window.sinks - cache.position());
    std::vector<std::vector<LiteralStream::Token>> fresh(shape.n_owners);  // [owner][row]
    std::vector<std::vector<float>> keys(shape.n_owners);
    std::vector<std::vector<float>> values(shape.n_owners);
    std::vector<PendingRows> pending;
    for (int owner = 0; owner < shape.n_owners; ++owner) {
      for (std::int64_t row = 0; row < n; ++row) {
        fresh[owner].push_back({random_vector(shape.kv_dim()), random_vector(shape.kv_dim())});
        std::vector<float> key(shape.kv_dim());
        rotate(fresh[owner].back().key, cache.position() + row, key);
        keys[owner].insert(keys[owner].end(), key.begin(), key.end());
        values[owner].insert(values[owner].end(), fresh[owner].back().value.begin(),
                             fresh[owner].back().value.end());
      }
      pending.push_back({keys[owner].data(), values[owner].data()});
    }
    for (std::int64_t row = 0; row < n; ++row) {
      for (int owner = 0; owner < shape.n_owners; ++owner) {
        ASSERT_EQ(cache.cache_position(row), static_cast<std::int64_t>(literal[owner].size()));
        const std::vector<float> query = random_vector(shape.q_dim());
        const bool self = random() % 2 == 0;
        const std::int64_t sliding = random() % 3 == 0 ? 1 + static_cast<std::int64_t>(random() % 12) : 0;
        std::vector<float> in_stream(query.size());
        std::vector<float> in_cache(query.size());
        rotate(query, cache.position() + row, in_stream);
        rotate(query, cache.cache_position(row), in_cache);
        std::vector<KvRun> runs;
        cache.visible_runs(owner, row, {.self = self, .sliding_window = sliding}, pending[owner], runs);
        const std::vector<std::int32_t> run_begin{0, static_cast<std::int32_t>(runs.size())};
        std::vector<float> out(query.size());
        backend->attend({shape.n_heads, shape.n_kv_heads, shape.head_dim}, in_stream, in_cache, runs,
                        run_begin, out);
        const std::vector<double> expected =
            literal[owner].attend(query, self ? &fresh[owner][row] : nullptr, sliding);
        for (std::size_t i = 0; i < out.size(); ++i) {
          ASSERT_NEAR(out[i], expected[i], 2e-5)
              << "sinks " << window.sinks << " window " << window.window << " token " << done + row
              << " owner " << owner << " self " << self << " sliding " << sliding << " shift " << shift;
        }
      }
      for (int owner = 0; owner < shape.n_owners; ++owner) literal[owner].join(fresh[owner][row]);
    }
    cache.append(n, pending);
    done += n;
    ASSERT_EQ(cache.size(), static_cast<std::int64_t>(literal[0].size()));
    ASSERT_LE(cache.bytes(), CondensedCache::bytes_when_full(cache.shape(), window));
  }
}

TEST(CondensedCache, EqualsReRotatingEveryKeyAtEveryStep) {
  std::mt19937 random(1);
  for (std::int64_t sinks = 0; sinks <= 8; ++sinks) {
    for (const std::int64_t window : {1, 2, 3, 5, 8, 13, 31, 63, 64, 65, 100}) {
      compare(random, {sinks, window}, sinks + window + 20, 0);
    }
  }
}

TEST(CondensedCache, EqualsReRotationFarAlongTheStream) {
  std::mt19937 random(2);
  for (const std::int64_t shift : {std::int64_t{1'000'000'000}, std::int64_t{1'000'000'007},
                                   std::int64_t{1} << 40, (std::int64_t{1} << 62) - 12345}) {
    for (int trial = 0; trial < 30; ++trial) {
      const StreamWindow window{std::uniform_int_distribution<std::int64_t>(0, 8)(random),
                                std::uniform_int_distribution<std::int64_t>(1, 100)(random)};
      compare(random, window, window.capacity() + 40, shift);
    }
  }
}

/// Appends n tokens whose numbers do not matter.
void feed(CondensedCache& cache, std::int64_t n) {
  const std::vector<float> zeros(static_cast<std::size_t>(n) * cache.shape().n_kv_heads *
                                 cache.shape().head_dim);
  const std::vector<PendingRows> pending(cache.shape().n_owners, PendingRows{zeros.data(), zeros.data()});
  cache.append(n, pending);
}

TEST(CondensedCache, MemoryGrowsInBlocksUpToWhatWasPromisedAndNoFurther) {
  const auto backend = kernels::make_backend("reference", 1);
  const CacheShape shape{.n_owners = 3, .n_kv_heads = 2, .head_dim = 8};
  const StreamWindow window{4, 200};
  CondensedCache cache(*backend, shape, window);
  const std::size_t full = CondensedCache::bytes_when_full(shape, window);
  EXPECT_EQ(full, 204 * 3 * 2 * 2 * 8 * sizeof(float));
  EXPECT_EQ(cache.bytes(), 0U);
  feed(cache, 1);
  EXPECT_EQ(cache.bytes(), CondensedCache::kBlockTokens * shape.bytes_per_token());
  feed(cache, 100);
  EXPECT_EQ(cache.bytes(), 2 * CondensedCache::kBlockTokens * shape.bytes_per_token());
  feed(cache, 103);
  EXPECT_EQ(cache.bytes(), full);
  EXPECT_EQ(cache.evictions(), 0);
  for (int i = 0; i < 1000; ++i) feed(cache, 1);
  EXPECT_EQ(cache.bytes(), full);
  EXPECT_EQ(cache.evictions(), 1000);
  EXPECT_EQ(cache.position(), 1204);
  EXPECT_EQ(cache.size(), 204);
}

TEST(CondensedCache, AnAppendLongerThanTheWindowKeepsItsEnd) {
  const auto backend = kernels::make_backend("reference", 1);
  CondensedCache cache(*backend, {.n_owners = 1, .n_kv_heads = 1, .head_dim = 2}, {2, 3});
  std::vector<float> values;
  for (int i = 0; i < 20; ++i) values.insert(values.end(), {static_cast<float>(i), 0.0F});
  const std::vector<PendingRows> pending{{values.data(), values.data()}};
  cache.append(20, pending);
  std::vector<KvRun> runs;
  cache.visible_runs(0, 0, {.self = false}, {}, runs);
  std::vector<float> seen;
  for (const KvRun& run : runs) {
    for (int j = 0; j < run.n_tokens; ++j) {
      seen.push_back(*reinterpret_cast<const float*>(run.values + j * run.token_stride_bytes));
    }
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<float>{0, 1, 17, 18, 19}));
}

/// Appends n random tokens to every cache.
void feed_random(std::mt19937& random, std::int64_t n, std::initializer_list<CondensedCache*> caches) {
  const CacheShape& shape = (*caches.begin())->shape();
  const auto size = static_cast<std::size_t>(n) * shape.n_kv_heads * shape.head_dim;
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> numbers(2 * static_cast<std::size_t>(shape.n_owners));
  std::vector<PendingRows> pending(shape.n_owners);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i].resize(size);
    std::generate(numbers[i].begin(), numbers[i].end(), [&] { return normal(random); });
    (i % 2 == 0 ? pending[i / 2].keys : pending[i / 2].values) = numbers[i].data();
  }
  for (CondensedCache* cache : caches) cache->append(n, pending);
}

std::vector<std::byte> saved(const CondensedCache& cache) {
  std::vector<std::byte> out(CondensedCache::saved_bytes(cache.shape(), cache.window(), cache.place()));
  cache.save(out);
  return out;
}

TEST(CondensedCache, ARestoredCacheGoesOnAsTheOneThatWasSaved) {
  std::mt19937 random(4);
  const auto backend = kernels::make_backend("auto", 1);
  const auto pick = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  for (int trial = 0; trial < 200; ++trial) {
    const auto dtypes = {kernels::DType::f32, kernels::DType::bf16, kernels::DType::f16, kernels::DType::q8};
    const CacheShape shape{.n_owners = static_cast<int>(pick(1, 3)),
                           .n_kv_heads = static_cast<int>(pick(1, 3)),
                           .head_dim = static_cast<int>(2 * pick(1, 9)),
                           .dtype = *(dtypes.begin() + pick(0, 3))};
    const StreamWindow window{pick(0, 70), pick(1, 200)};
    CondensedCache original(*backend, shape, window);
    for (std::int64_t n = pick(0, 6); n > 0; --n) {
      feed_random(random, pick(1, 90), {&original});
      if (pick(0, 2) == 0) original.truncate(pick(original.earliest(), original.position()));
    }
    CondensedCache restored(*backend, shape, window);
    ASSERT_EQ(CondensedCache::defect(window, original.place()), nullptr);
    restored.restore(original.place(), saved(original));
    for (int step = 0; step < 4; ++step) {
      ASSERT_EQ(restored.place(), original.place());
      ASSERT_EQ(restored.size(), original.size());
      ASSERT_EQ(restored.cache_position(3), original.cache_position(3));
      ASSERT_EQ(saved(restored), saved(original)) << "sinks " << window.sinks << " window " << window.window;
      feed_random(random, pick(1, 120), {&original, &restored});
    }
  }
}

TEST(CondensedCache, WhatIsTruncatedWasNeverThere) {
  std::mt19937 random(5);
  const auto backend = kernels::make_backend("auto", 1);
  const CacheShape shape{.n_owners = 2, .n_kv_heads = 1, .head_dim = 4};
  const StreamWindow window{3, 70};
  CondensedCache cache(*backend, shape, window);
  CondensedCache twin(*backend, shape, window);
  feed_random(random, 40, {&cache, &twin});
  feed_random(random, 30, {&cache});
  EXPECT_EQ(cache.earliest(), 0);
  cache.truncate(40);  // nothing was evicted: the very same cache
  EXPECT_EQ(saved(cache), saved(twin));
  cache.truncate(1);
  twin.truncate(1);
  EXPECT_EQ(cache.size(), 1);
  feed_random(random, 200, {&cache, &twin});
  EXPECT_EQ(saved(cache), saved(twin));
  EXPECT_EQ(cache.earliest(), 201 - 70);
  cache.truncate(201 - 20);  // the window is shorter now, and fills again
  EXPECT_EQ(cache.size(), 3 + 50);
  EXPECT_EQ(cache.evictions(), 201 - 73);
  feed_random(random, 15, {&cache});
  EXPECT_EQ(cache.size(), 3 + 65);
  feed_random(random, 15, {&cache});
  EXPECT_EQ(cache.size(), window.capacity());
}

TEST(CondensedCache, RefusesPlacesThatNoCacheCanBeAt) {
  const StreamWindow window{4, 100};
  using Place = CondensedCache::Place;
  for (const Place& good : {Place{0, 0}, Place{4, 0}, Place{10, 6}, Place{1000, 100}, Place{1000, 0}}) {
    EXPECT_EQ(CondensedCache::defect(window, good), nullptr) << good.position << ' ' << good.n_window;
  }
  for (const Place& bad : {Place{-1, 0}, Place{3, 1}, Place{10, 7}, Place{1000, 101}, Place{1000, -1},
                           Place{std::numeric_limits<std::int64_t>::max(), 100}}) {
    EXPECT_NE(CondensedCache::defect(window, bad), nullptr) << bad.position << ' ' << bad.n_window;
  }
}

TEST(RotaryPhase, DependsOnDistanceOnlyHoweverFarTheStreamHasRun) {
  const RotaryPhase phase(frequencies(64));
  std::vector<float> near(64);
  std::vector<float> far(64);
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 1000; ++trial) {
    const auto distance = static_cast<std::int64_t>(random() % 5000);
    const auto base = static_cast<std::int64_t>(random() >> 2);
    phase.angles(distance, near);
    std::vector<float> a(64);
    std::vector<float> b(64);
    phase.angles(base, a);
    phase.angles(base + distance, b);
    for (int i = 0; i < 32; ++i) {
      // cos(x - y) and sin(x - y) from the two far angles.
      EXPECT_NEAR(b[i] * a[i] + b[32 + i] * a[32 + i], near[i], 3e-7);
      EXPECT_NEAR(b[32 + i] * a[i] - b[i] * a[32 + i], near[32 + i], 3e-7);
    }
  }
}

TEST(RotaryPhase, IsCosineAndSineOfPositionTimesFrequency) {
  const std::vector<double> freq = frequencies(16);
  const RotaryPhase phase(freq);
  std::vector<float> angles(16);
  for (const std::int64_t position : {0, 1, 2, 17, 1000, 123456, 100'000'000}) {
    phase.angles(position, angles);
    for (int i = 0; i < 8; ++i) {
      EXPECT_NEAR(angles[i], std::cos(static_cast<double>(position) * freq[i]), 1e-7) << position;
      EXPECT_NEAR(angles[8 + i], std::sin(static_cast<double>(position) * freq[i]), 1e-7) << position;
    }
  }
}

TEST(CondensedCache, StoringInTheNextSlotIsAppendingOne) {
  const auto backend = kernels::make_backend("reference", 1);
  const CacheShape shape{.n_owners = 2, .n_kv_heads = 2, .head_dim = 4};
  const StreamWindow window{.sinks = 3, .window = 70};
  CondensedCache appended(*backend, shape, window);
  CondensedCache stored(*backend, shape, window);
  std::mt19937 random(8);
  for (int token = 0; token < 160; ++token) {
    std::vector<float> numbers(4 * 8);  // of each owner keys, then values
    std::ranges::generate(numbers, [&] { return std::normal_distribution<float>()(random); });
    std::vector<PendingRows> pending;
    for (int owner = 0; owner < 2; ++owner) {
      const std::span<const float> keys = std::span(numbers).subspan(16 * owner, 8);
      const std::span<const float> values = std::span(numbers).subspan(16 * owner + 8, 8);
      pending.push_back({.keys = keys.data(), .values = values.data()});
      const kernels::KvSlot slot = stored.next_slot(owner);
      backend->store_kv(keys, values, shape.n_kv_heads, shape.head_dim, shape.dtype, {&slot, 1});
    }
    stored.advance();
    appended.append(1, pending);
    ASSERT_EQ(stored.place(), appended.place());
  }
  std::vector<std::byte> expected(CondensedCache::saved_bytes(shape, window, appended.place()));
  std::vector<std::byte> actual(expected.size());
  appended.save(expected);
  stored.save(actual);
  EXPECT_EQ(actual, expected);
}

}  // namespace
}  // namespace condensed::cache
