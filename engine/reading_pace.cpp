#include "engine/reading_pace.h"

#include <algorithm>
#include <cmath>

namespace condensed::engine {

namespace {

constexpr double kWeight = 1.0 / 16;  // of the latest step
constexpr double kBytesPerToken = 4;  // exactly that of token ids, and roughly that of text
constexpr double kLeastMs = 1;
constexpr double kMostMs = 60'000;
constexpr double kUnmeasuredMs = 100;

void average(std::atomic<double>& mean, double value) {
  mean = mean == 0 ? value : mean + kWeight * (value - mean);
}

std::int64_t wait_ms(double n, double each_ms) {
  const double ms = each_ms == 0 ? kUnmeasuredMs : n * each_ms;
  return static_cast<std::int64_t>(std::ceil(std::clamp(ms, kLeastMs, kMostMs)));
}

}  // namespace

void ReadingPace::observe(std::chrono::nanoseconds duration, std::int64_t longest, std::int64_t all_tokens) {
  const double ms = std::chrono::duration<double, std::milli>(duration).count();
  average(step_ms_, ms);
  if (longest > 0) {
    average(session_token_ms_, ms / static_cast<double>(longest));
    average(token_ms_, ms / static_cast<double>(all_tokens));
  }
}

std::int64_t ReadingPace::session_reads_ms(std::size_t bytes) const {
  return wait_ms(static_cast<double>(bytes) / kBytesPerToken, session_token_ms_);
}

std::int64_t ReadingPace::all_read_ms(std::size_t bytes) const {
  return wait_ms(static_cast<double>(bytes) / kBytesPerToken, token_ms_);
}

std::int64_t ReadingPace::steps_ms(std::int64_t n) const {
  return wait_ms(static_cast<double>(n), step_ms_);
}

}  // namespace condensed::engine
