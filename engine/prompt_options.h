#pragma once

#include <cstdint>
#include <string_view>

namespace condensed::engine {

/// How the tokens of a prompt run through layers that attend to keys and values of a layer above them.
enum class PromptMode : std::uint8_t {
  automatic,  // whichever of the next two costs less (PromptPlanner)
  serial,     // token by token: exact
  adaptive,   // in chunks, each iterated until its keys and values stand still
  passes,  // in chunks, each iterated a given number of times (with the prompt as one chunk: the paper's way)
};

struct PromptOptions {
  PromptMode mode = PromptMode::serial;
  std::int64_t chunk_tokens = 32;  // automatic: at most
  /// adaptive, automatic: a chunk is done when none of its key or value elements moved by more than this in
  /// the last pass.
  double tolerance = 1e-4;
  /// passes: how often. Chunks of at most this many tokens come out exact.
  std::int64_t passes = 9;

  /// How many of `n_waiting` (≥ 1) prompt tokens to run at once; automatic: at most.
  std::int64_t slice_tokens(std::int64_t n_waiting) const;
};

/// "auto", "serial", "adaptive" or "passes=N" (N ≥ 1), on top of `defaults`. Throws InputError for anything
/// else.
PromptOptions parse_prompt_mode(std::string_view text, PromptOptions defaults = {});

}  // namespace condensed::engine
