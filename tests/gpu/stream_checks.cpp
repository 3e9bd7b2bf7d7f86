// Streams that move between the processor and the device, and streams alone against a batch.

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/transformer.h"
#include "kernels/make_backend.h"
#include "tests/gpu/checks.h"
#include "tests/gpu/golden_case.h"

namespace condensed::gpu_check {

using cache::CondensedCache;
using engine::Model;
using engine::Transformer;
using kernels::DType;

namespace {

constexpr std::int64_t kContinued = 200;  // greedy tokens behind the case's own

/// A stream and how it goes on, one token at a time.
class Stream {
 public:
  Stream(Model& model, const cache::StreamWindow& window, DType dtype = DType::f32)
      : model_(model),
        transformer_(model, 1, dtype),
        cache_(*model.backend, transformer_.cache_shape(), window) {}

  CondensedCache& cache() { return cache_; }

  std::int32_t read(std::int32_t token) {
    const engine::Slice slice{.cache = &cache_, .tokens = {&token, 1}, .logits_for = engine::LogitsFor::last};
    transformer_.run({&slice, 1}, {});
    const auto logits = transformer_.logits();
    return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
  }
  /// The greedy tokens after `next`, that one first.
  std::vector<std::int32_t> go_on(std::int32_t next, std::int64_t n) {
    std::vector<std::int32_t> out;
    for (std::int64_t i = 0; i < n; ++i) {
      out.push_back(next);
      next = read(next);
    }
    return out;
  }
  std::vector<std::byte> save() const {
    std::vector<std::byte> out(CondensedCache::saved_bytes(cache_.shape(), cache_.window(), cache_.place()));
    cache_.save(out);
    return out;
  }

 private:
  Model& model_;
  Transformer transformer_;
  CondensedCache cache_;
};

/// A stream begun on one model goes on on the other with the tokens that it would have had at home.
Finding check_move(const GoldenCase& golden, Model& home, Model& away) {
  Stream begun(home, golden.window);
  std::int32_t next = 0;
  for (const std::int32_t token : golden.tokens) {
    next = begun.read(token);
  }
  const std::vector<std::byte> saved = begun.save();
  Stream moved(away, golden.window);
  moved.cache().restore(begun.cache().place(), saved);
  if (moved.save() != saved) {
    return {.outcome = Outcome::failed, .detail = "the restored cache is not the saved one"};
  }
  const auto expected = begun.go_on(next, kContinued);
  const auto actual = moved.go_on(next, kContinued);
  const auto differ = std::ranges::mismatch(expected, actual).in1 - expected.begin();
  return {.outcome = outcome_if(differ == kContinued),
          .detail = differ == kContinued
                        ? std::to_string(kContinued) + " greedy tokens, the same"
                        : "greedy token " + std::to_string(differ) + " is " + std::to_string(actual[differ]) +
                              " instead of " + std::to_string(expected[differ]),
          .figures = {{"tokens", kContinued}, {"same", static_cast<std::int64_t>(differ)}}};
}

/// Bytes of every cache format survive the way to the device and back.
Finding check_round_trip(const GoldenCase& golden, Model& home, Model& away) {
  for (const DType dtype : {DType::bf16, DType::f16, DType::q8}) {
    Stream begun(home, golden.window, dtype);
    for (const std::int32_t token : golden.tokens) {
      begun.read(token);
    }
    const std::vector<std::byte> saved = begun.save();
    Stream moved(away, golden.window, dtype);
    moved.cache().restore(begun.cache().place(), saved);
    if (moved.save() != saved) {
      return {.outcome = Outcome::failed,
              .detail = std::string(name_of(dtype)) + ": the cache that came back is another"};
    }
  }
  return {.detail = "bf16, f16 and q8 caches come back bit for bit"};
}

/// Streams of different lengths side by side, each against itself alone: logits after every token.
Finding check_batch(const GoldenCase& golden, Model& model, std::int64_t n_streams) {
  const std::size_t vocab = static_cast<std::size_t>(model.config.vocab_size);
  const std::int64_t n_steps = std::ssize(golden.tokens);
  const auto token_of = [&](std::int64_t stream, std::int64_t step) {
    return golden.tokens[static_cast<std::size_t>((stream * 7 + step) % n_steps)];
  };
  Transformer together(model, n_streams);
  std::vector<CondensedCache> caches;
  caches.reserve(static_cast<std::size_t>(n_streams));
  for (std::int64_t s = 0; s < n_streams; ++s) {
    caches.emplace_back(*model.backend, together.cache_shape(), golden.window);
  }
  std::vector<std::vector<float>> rows(static_cast<std::size_t>(n_streams));
  for (std::int64_t step = 0; step < n_steps; ++step) {
    std::vector<std::int32_t> tokens;
    for (std::int64_t s = 0; s < n_streams; ++s) {
      tokens.push_back(token_of(s, step));
    }
    std::vector<engine::Slice> slices;
    for (std::size_t s = 0; s < caches.size(); ++s) {
      slices.push_back({.cache = &caches[s],
                        .tokens = std::span(tokens).subspan(s, 1),
                        .logits_for = engine::LogitsFor::last});
    }
    together.run(slices, {});
    for (std::size_t s = 0; s < caches.size(); ++s) {
      const auto row = together.logits().subspan(s * vocab, vocab);
      rows[s].insert(rows[s].end(), row.begin(), row.end());
    }
  }
  double largest = 0;
  bool same_bits = true;
  Transformer alone(model, 1);
  for (const std::int64_t s : {std::int64_t{0}, n_streams / 2, n_streams - 1}) {
    CondensedCache cache(*model.backend, alone.cache_shape(), golden.window);
    std::vector<float> own;
    for (std::int64_t step = 0; step < n_steps; ++step) {
      const std::int32_t token = token_of(s, step);
      const engine::Slice slice{
          .cache = &cache, .tokens = {&token, 1}, .logits_for = engine::LogitsFor::last};
      alone.run({&slice, 1}, {});
      own.insert(own.end(), alone.logits().begin(), alone.logits().end());
    }
    const std::vector<float>& row = rows[static_cast<std::size_t>(s)];
    largest = std::max(largest, largest_difference(own, row));
    same_bits = same_bits && std::ranges::equal(std::as_bytes(std::span(own)), std::as_bytes(std::span(row)));
  }
  char text[100];
  std::snprintf(text, sizeof(text), "alone against in a batch of %lld: %s, largest difference %.2g",
                static_cast<long long>(n_streams), same_bits ? "the same bits" : "other bits", largest);
  return {.outcome = outcome_if(same_bits),
          .detail = text,
          .figures = {{"batch", n_streams}, {"same_bits", same_bits}, {"largest_difference", largest}}};
}

}  // namespace

void check_streams(const Setting& setting, Report& report) {
  for (const GoldenCase& golden : read_golden_cases(setting.golden)) {
    if (!golden.evicts || (setting.brief && golden.name() != "condensed-w2-stream")) {
      continue;
    }
    const auto cpu = golden.model(kernels::make_backend("auto", 0));
    const auto device = golden.model(setting.make_backend());
    const std::string name = "streams." + golden.name();
    report.run(name + ".cpu_to_device", [&] { return check_move(golden, *cpu, *device); });
    report.run(name + ".device_to_cpu", [&] { return check_move(golden, *device, *cpu); });
    report.run(name + ".cache_formats", [&] { return check_round_trip(golden, *cpu, *device); });
    report.run(name + ".batch_of_32", [&] { return check_batch(golden, *device, 32); });
  }
}

}  // namespace condensed::gpu_check
