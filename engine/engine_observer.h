#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace condensed::engine {

struct GenerationSummary;

/// One pass of a batch through the model.
struct StepReport {
  std::int64_t sessions = 0;     // that took part
  std::int64_t decode_rows = 0;  // tokens a generated token came of
  std::int64_t prompt_rows = 0;  // all others
  std::int64_t passes = 0;       // iterations, the most that any slice took
  std::int64_t evictions = 0;    // tokens that left a window
  std::chrono::nanoseconds duration{};

  std::int64_t rows() const { return decode_rows + prompt_rows; }
};

/// Is told what the engine does, for metrics. Every method is called on the engine's thread and must neither
/// block nor throw; each does nothing unless it is overridden.
class EngineObserver {
 public:
  EngineObserver() = default;
  virtual ~EngineObserver() = default;
  EngineObserver(const EngineObserver&) = delete;
  EngineObserver& operator=(const EngineObserver&) = delete;

  virtual void on_step(const StepReport& /*step*/) {}

  /// A generation's first token, this long after its request arrived.
  virtual void on_first_token(std::chrono::nanoseconds /*since_arrival*/) {}
  /// A later token, this long after the one before. Time in which the stream rested, because its reader did
  /// not read or because input joined it, is included.
  virtual void on_later_token(std::chrono::nanoseconds /*since_previous*/) {}
  virtual void on_generation_end(const GenerationSummary& /*summary*/) {}

  /// The input of one request is part of the stream now.
  virtual void on_append_read(std::int64_t /*tokens*/) {}

  virtual void on_snapshot_written(std::size_t /*bytes*/, std::chrono::nanoseconds /*duration*/) {}
  virtual void on_snapshot_failed() {}
  /// A session's memory was given back; its snapshot stays.
  virtual void on_session_hibernated() {}
  /// The device failed; the engine makes it ready again.
  virtual void on_device_failed() {}
  /// A session that was asleep is in memory again.
  virtual void on_session_woken(std::chrono::nanoseconds /*duration*/) {}
};

}  // namespace condensed::engine
