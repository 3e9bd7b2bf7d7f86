#include "engine/failpoints.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <thread>
#include <utility>

#include "engine/input_error.h"

namespace condensed::engine {

namespace {

constexpr const char* kVariable = "CONDENSED_FAILPOINTS";
constexpr std::int64_t kMost = 3'600'000'000;  // an hour, in microseconds

constexpr std::array<std::pair<std::string_view, Failpoint>, 3> kPoints{
    {{"start", Failpoint::start}, {"between_steps", Failpoint::between_steps}, {"step", Failpoint::step}}};
constexpr std::array<std::pair<std::string_view, std::int64_t>, 3> kUnits{
    {{"us", 1}, {"ms", 1000}, {"s", 1'000'000}}};

[[noreturn]] void refuse(std::string_view expected, std::string_view found) {
  throw InputError(std::string(kVariable) + ": expected " + std::string(expected) + ", found \"" +
                   std::string(found) + "\"");
}

/// Cuts off what stands before `separator`, and the separator.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view first = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return first;
}

template <typename T, std::size_t n>
T named(const std::array<std::pair<std::string_view, T>, n>& known, std::string_view name,
        std::string_view expected) {
  for (const auto& [candidate, value] : known) {
    if (candidate == name) {
      return value;
    }
  }
  refuse(expected, name);
}

/// A number from 1, and what stands behind it.
std::pair<std::int64_t, std::string_view> number(std::string_view text, std::string_view expected) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 1 || value > kMost) {
    refuse(expected, text);
  }
  return {value, text.substr(static_cast<std::size_t>(end - text.data()))};
}

std::chrono::microseconds duration(std::string_view text) {
  constexpr std::string_view kExpected = "a duration of at most an hour such as 80ms";
  const auto [count, unit] = number(text, kExpected);
  const std::int64_t scale = named(kUnits, unit, "us, ms or s after a duration's number");
  if (count > kMost / scale) {
    refuse(kExpected, text);
  }
  return std::chrono::microseconds(count * scale);
}

}  // namespace

Failpoints::Failpoints(std::string_view text) {
  while (!text.empty()) {
    sleeps_.push_back(parse(cut(text, ';')));
  }
}

Failpoints Failpoints::from_environment() {
  const char* text = std::getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): nobody changes it
  return Failpoints(text == nullptr ? "" : text);
}

Failpoints::Sleep Failpoints::parse(std::string_view text) {
  Sleep sleep;
  sleep.point = named(kPoints, cut(text, '='), "start, between_steps or step before a =");
  std::string_view action = cut(text, '/');
  if (cut(action, ':') != "sleep") {
    refuse("sleep:DURATION after the =", action);
  }
  sleep.duration = duration(action);
  if (!text.empty()) {
    if (cut(text, ':') != "every") {
      refuse("every:N after the /", text);
    }
    const auto [every, rest] = number(text, "a whole number from 1 after every:");
    if (!rest.empty()) {
      refuse("nothing after every:N", rest);
    }
    sleep.every = every;
  }
  return sleep;
}

std::chrono::microseconds Failpoints::delay(Failpoint point, std::int64_t step) const {
  std::chrono::microseconds sum{0};
  for (const Sleep& sleep : sleeps_) {
    if (sleep.point == point && step % sleep.every == 0) {
      sum += sleep.duration;
    }
  }
  return sum;
}

void Failpoints::pass(Failpoint point, std::int64_t step) const {
  if (const auto time = delay(point, step); time.count() > 0) {
    std::this_thread::sleep_for(time);
  }
}

}  // namespace condensed::engine
