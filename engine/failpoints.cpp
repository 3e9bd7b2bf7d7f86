#include "engine/failpoints.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <thread>
#include <utility>

#include "engine/input_error.h"
#include "kernels/device_error.h"

namespace condensed::engine {

namespace {

constexpr const char* kVariable = "CONDENSED_FAILPOINTS";
constexpr std::int64_t kMost = 3'600'000'000;  // an hour, in microseconds

constexpr std::array<std::pair<std::string_view, Failpoint>, 4> kPoints{
    {{"start", Failpoint::start},
     {"between_steps", Failpoint::between_steps},
     {"step", Failpoint::step},
     {"restart", Failpoint::restart}}};
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
    planted_.push_back(parse(cut(text, ';')));
  }
}

Failpoints Failpoints::from_environment() {
  const char* text = std::getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): nobody changes it
  return Failpoints(text == nullptr ? "" : text);
}

Failpoints::Planted Failpoints::parse(std::string_view text) {
  Planted planted;
  planted.point = named(kPoints, cut(text, '='), "start, between_steps, step or restart before a =");
  std::string_view action = cut(text, '/');
  const bool may_fail = planted.point == Failpoint::step || planted.point == Failpoint::restart;
  if (action == "fail" && may_fail) {
    planted.fails = true;
  } else if (cut(action, ':') == "sleep") {
    planted.duration = duration(action);
  } else {
    refuse("sleep:DURATION after the =, or fail after step= or restart=", action);
  }
  if (!text.empty()) {
    if (cut(text, ':') != "every") {
      refuse("every:N after the /", text);
    }
    const auto [every, rest] = number(text, "a whole number from 1 after every:");
    if (!rest.empty()) {
      refuse("nothing after every:N", rest);
    }
    planted.every = every;
  }
  return planted;
}

std::chrono::microseconds Failpoints::delay(Failpoint point, std::int64_t step) const {
  std::chrono::microseconds sum{0};
  for (const Planted& planted : planted_) {
    sum += planted.is_at(point, step) ? planted.duration : std::chrono::microseconds(0);
  }
  return sum;
}

bool Failpoints::fails(Failpoint point, std::int64_t step) const {
  return std::any_of(planted_.begin(), planted_.end(),
                     [&](const Planted& planted) { return planted.fails && planted.is_at(point, step); });
}

void Failpoints::pass(Failpoint point, std::int64_t step) const {
  if (const auto time = delay(point, step); time.count() > 0) {
    std::this_thread::sleep_for(time);
  }
  if (fails(point, step)) {
    throw kernels::DeviceError("step " + std::to_string(step) + " failed as " + kVariable + " says");
  }
}

}  // namespace condensed::engine
