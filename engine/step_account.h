#pragma once

#include <chrono>
#include <cstdint>

#include "engine/resource_use.h"

namespace condensed::engine {

/// Where the time went before one token of a generation: since the one before it or, for the first, since the
/// request arrived. On the engine's thread every moment belongs to one of step, other_steps, between_steps
/// and idle, whose sum is the interval less, for a first token, `starting`.
struct StepAccount {
  std::chrono::nanoseconds interval{};
  std::chrono::nanoseconds step{};           // the step that gave the token, from its beginning to the token
  std::chrono::nanoseconds other_steps{};    // the rest of the step before, and steps without a token
  std::chrono::nanoseconds between_steps{};  // commands and preparing
  std::chrono::nanoseconds commands{};       // requests and what the snapshot thread has finished
  std::chrono::nanoseconds preparing{};      // snapshots copied, sessions let in, input tokenised
  std::chrono::nanoseconds idle{};           // nothing was to be done

  // What the session met meanwhile.
  std::chrono::nanoseconds held{};      // its reader had too much unread
  std::chrono::nanoseconds queued{};    // it had tokens to run and found no room in a step
  std::chrono::nanoseconds starting{};  // from the request's arrival to the generation's beginning
  std::chrono::nanoseconds waking{};    // of that: until the session was in memory
  std::int64_t input_tokens = 0;        // of the session's own input, read meanwhile

  std::int64_t steps = 0;  // begun meanwhile, that of the token included
  // Of the step that gave the token.
  std::int64_t sessions = 0;
  std::int64_t decode_rows = 0;
  std::int64_t prompt_rows = 0;
  std::int64_t passes = 0;

  std::int64_t snapshots_under_way = 0;  // jobs of the snapshot thread that began, went on or ended meanwhile
  std::int64_t snapshots_copied = 0;     // caches copied on the engine's thread, to be written
  std::int64_t sessions_woken = 0;       // that came into memory from disk
  ResourceUse use;  // from at most WorkLedger::kUseAge before the interval began to its end
};

}  // namespace condensed::engine
