#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace condensed::bench {

/// What a client of many sessions may do next.
enum class Action : std::uint8_t {
  open,  // another session, with some input
  talk,  // input to a session, and an answer
  fork,  // a copy of a session
  rest,  // nothing, for a moment
  close,
};
constexpr std::size_t kActions = 5;
std::string_view name_of(Action action);

/// How often each is done, relative to the others.
class ActionMix {
 public:
  /// "talk=6,open=1,…": whole numbers from 0 to 1,000,000; those left out are never done. Throws
  /// std::invalid_argument for anything else, and if talk is never done.
  explicit ActionMix(std::string_view text);

  Action draw(std::mt19937_64& random) const;
  std::int64_t weight(Action action) const { return weights_[static_cast<std::size_t>(action)]; }

 private:
  std::array<std::int64_t, kActions> weights_{};
};

}  // namespace condensed::bench
