#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace condensed::cache {

/// Rotary angles for any stream position. A frequency is kept as a 64-bit fraction of a full turn, so that
/// position × frequency modulo one turn is an integer product that wraps by itself: the difference of two
/// angles depends on the distance of the positions only, exactly, however far the stream has run.
class RotaryPhase {
 public:
  /// frequencies: [head_dim / 2], radians per position, each in [0, 2π).
  explicit RotaryPhase(std::span<const double> frequencies);

  int head_dim() const { return static_cast<int>(turns_.size()) * 2; }

  /// angles: [head_dim]: the cosines of `position`, then the sines (kernels::Backend::rotate).
  void angles(std::int64_t position, std::span<float> angles) const;

 private:
  std::vector<std::uint64_t> turns_;  // per position, in units of 2^-64 turn
};

}  // namespace condensed::cache
