#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace condensed::engine {

/// Places where tests may plant delays, in builds with CONDENSED_FAILPOINTS.
enum class Failpoint : std::uint8_t {
  start,          // the engine is being made
  between_steps,  // a step is about to begin
  step,           // it has begun
};

/// Delays by place, as the variable CONDENSED_FAILPOINTS of the environment names them: the sleeps that tests
/// of measurements look for. Immutable: any thread may pass.
class Failpoints {
 public:
  /// "POINT=sleep:DURATION[/every:N]", several with semicolons between; a duration is a whole number with us,
  /// ms or s after it. every: only at steps whose number is a multiple of N. Empty: none. Throws InputError.
  explicit Failpoints(std::string_view text);
  static Failpoints from_environment();

  /// How long who passes there is held up.
  std::chrono::microseconds delay(Failpoint point, std::int64_t step) const;
  /// Sleeps so long. step: the number of the step, from 1.
  void pass(Failpoint point, std::int64_t step) const;

 private:
  struct Sleep {
    Failpoint point = Failpoint::step;
    std::chrono::microseconds duration{};
    std::int64_t every = 1;
  };
  static Sleep parse(std::string_view text);

  std::vector<Sleep> sleeps_;
};

}  // namespace condensed::engine
