#include "clients/bench/arrival_times.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace condensed::bench {

namespace {

constexpr double kMostSeconds = 1e9;  // thirty years: nanoseconds since the start still fit
constexpr std::int64_t kMostTokens = 1'000'000'000;

std::chrono::nanoseconds nanoseconds_of(double seconds) {
  return std::chrono::nanoseconds(std::llround(seconds * 1e9));
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/// The number that a text begins with, behind blanks; it is cut off the text.
template <typename Number>
std::optional<Number> take_number(std::string_view& text) {
  while (!text.empty() && is_blank(text.front())) {
    text.remove_prefix(1);
  }
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!text.empty() && !is_blank(text.front())) {
    return std::nullopt;
  }
  return number;
}

Arrival arrival_of(std::string_view line, const std::string& where) {
  std::string_view rest = line;
  const auto seconds = take_number<double>(rest);
  bool good = seconds && *seconds >= 0 && *seconds <= kMostSeconds;
  Arrival arrival;
  if (good && !std::all_of(rest.begin(), rest.end(), is_blank)) {
    arrival.output_tokens = take_number<std::int64_t>(rest);
    good = arrival.output_tokens && *arrival.output_tokens >= 1 && *arrival.output_tokens <= kMostTokens &&
           std::all_of(rest.begin(), rest.end(), is_blank);
  }
  if (!good) {
    throw std::invalid_argument(where + ": expected SECONDS, or SECONDS OUTPUT_TOKENS; found \"" +
                                std::string(line.substr(0, 60)) + "\"");
  }
  arrival.after_start = nanoseconds_of(*seconds);
  return arrival;
}

}  // namespace

std::optional<Arrival> PoissonArrivals::next() {
  at_s_ += gap_s_(random_);
  return Arrival{.after_start = nanoseconds_of(at_s_), .output_tokens = std::nullopt};
}

TraceArrivals TraceArrivals::parse(std::string_view text, const std::string& source) {
  TraceArrivals trace;
  for (std::size_t n_lines = 1; !text.empty(); ++n_lines) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('#') || std::all_of(line.begin(), line.end(), is_blank)) {
      continue;
    }
    const std::string where = source + ", line " + std::to_string(n_lines);
    const Arrival arrival = arrival_of(line, where);
    if (!trace.all_.empty() && arrival.after_start < trace.all_.back().after_start) {
      throw std::invalid_argument(where +
                                  ": expected times in order, found one before that of the line before");
    }
    trace.all_.push_back(arrival);
  }
  if (trace.all_.empty()) {
    throw std::invalid_argument(source + ": expected at least one arrival, found none");
  }
  return trace;
}

TraceArrivals TraceArrivals::from_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    throw std::invalid_argument(path + ": cannot be read");
  }
  return parse(text, path);
}

std::optional<Arrival> TraceArrivals::next() {
  return next_ < all_.size() ? std::optional(all_[next_++]) : std::nullopt;
}

}  // namespace condensed::bench
