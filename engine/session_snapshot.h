#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/condensed_cache.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/text_stream.h"

namespace condensed::engine {

/// A generation between two of its tokens.
struct GenerationState {
  GenerateRequest request;  // which session it names does not matter
  Sampler::RandomState random;
  std::string held_text;      // what StopMatcher holds back
  std::int64_t n_tokens = 0;  // drawn so far
};

/// Everything that a session is, apart from the model and the input that waits: a session made from it goes
/// on bit for bit as the one it was taken from.
struct SessionSnapshot {
  cache::StreamWindow window;
  cache::CondensedCache::Place place;
  std::int64_t text_start = 0;            // stream position of the first token that is not the model's own
  std::optional<TextStream::State> text;  // absent without a tokenizer
  std::vector<std::int32_t> unread;       // accepted, not in the cache: one, or none in an empty stream
  std::vector<std::int32_t> history;      // the latest tokens, oldest first, unread ones included
  std::int64_t n_read_since_generation = 0;
  std::optional<GenerationState> generation;
  std::vector<std::byte> cache;  // CondensedCache::save()

  std::int64_t position() const { return place.position + static_cast<std::int64_t>(unread.size()); }
};

/// What snapshots must agree with to be of use to a model.
struct SnapshotModel {
  std::string fingerprint;
  cache::CacheShape shape;
  int vocab_size = 0;
  bool has_text = false;  // there is a tokenizer
};

}  // namespace condensed::engine
