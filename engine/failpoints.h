#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace condensed::engine {

/// Places where tests may plant delays and failures, in builds with CONDENSED_FAILPOINTS.
enum class Failpoint : std::uint8_t {
  start,          // the engine is being made
  between_steps,  // a step is about to begin
  step,           // it has begun
  restart,        // a device that failed is about to be made anew, after that step
};

/// Delays and failures by place, as the variable CONDENSED_FAILPOINTS of the environment names them: the
/// sleeps that tests of measurements look for, and devices that fail. Immutable: any thread may pass.
class Failpoints {
 public:
  /// "POINT=sleep:DURATION[/every:N]" or "step=fail[/every:N]" (or restart=…), several with semicolons
  /// between; a duration is a whole number with us, ms or s after it. every: only at steps whose number is a
  /// multiple of N. Empty: none. Throws InputError.
  explicit Failpoints(std::string_view text);
  static Failpoints from_environment();

  /// How long who passes there is held up.
  std::chrono::microseconds delay(Failpoint point, std::int64_t step) const;
  bool fails(Failpoint point, std::int64_t step) const;
  /// Sleeps so long, or throws kernels::DeviceError. step: the number of the step, from 1.
  void pass(Failpoint point, std::int64_t step) const;

 private:
  struct Planted {
    Failpoint point = Failpoint::step;
    std::chrono::microseconds duration{};
    bool fails = false;
    std::int64_t every = 1;

    bool is_at(Failpoint where, std::int64_t step) const { return point == where && step % every == 0; }
  };
  static Planted parse(std::string_view text);

  std::vector<Planted> planted_;
};

}  // namespace condensed::engine
