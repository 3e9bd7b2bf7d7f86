#pragma once

#include <cstddef>

namespace condensed::bench {

/// What is measured, all in time. Scenarios may add figures of their own (Recorder::add_figure).
enum class Figure : std::size_t {
  ttft,  // from a generation's request (or when it was due) to its first token
  tpot,  // a generation's mean time between tokens
  itl,   // from a token to the next of its generation
  e2el,  // from a generation's request (or when it was due) to its `done`
  wake,  // from a request to a session that is asleep to its answer
  wait,  // from when a request was due to when it was sent
};
constexpr std::size_t kStandardFigures = 6;

}  // namespace condensed::bench
