#include "clients/bench/slo.h"

#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace condensed::bench {

namespace {

constexpr std::array<std::pair<std::string_view, double>, 6> kUnits_s{
    {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"", 1}}};
constexpr double kMax_s = 1e9;  // a generation; far from where nanoseconds overflow

constexpr std::array<std::pair<std::string_view, Figure>, 5> kFigures{{{"ttft", Figure::ttft},
                                                                       {"tpot", Figure::tpot},
                                                                       {"itl", Figure::itl},
                                                                       {"e2el", Figure::e2el},
                                                                       {"wait", Figure::wait}}};

}  // namespace

std::chrono::nanoseconds parsed_duration(std::string_view text, std::string_view what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const auto& [name, seconds] : kUnits_s) {
    if (error == std::errc() && unit == name && value >= 0 && value * seconds <= kMax_s) {
      return std::chrono::nanoseconds(std::llround(value * seconds * 1e9));
    }
  }
  throw std::invalid_argument(std::string(what) + " " + std::string(text) +
                              ": expected a duration such as 20ms, 1.5s, 10m or 2h");
}

Slo::Slo(std::string_view text) {
  const std::string expected =
      ": expected limits such as ttft=200ms,itl=50ms, of ttft, tpot, itl, e2el "
      "or wait";
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const std::string_view name = entry.substr(0, entry.find('='));
    std::optional<Figure> figure;
    for (const auto& [known, value] : kFigures) {
      figure = known == name ? value : figure;
    }
    if (!figure || name.size() == entry.size() || limit(*figure)) {
      throw std::invalid_argument("--slo " + std::string(entry) + expected);
    }
    limits_.push_back({*figure, std::string(name),
                       parsed_duration(entry.substr(name.size() + 1), "--slo " + std::string(name))});
  }
}

std::optional<std::chrono::nanoseconds> Slo::limit(Figure figure) const {
  for (const Limit& each : limits_) {
    if (each.figure == figure) {
      return each.at_most;
    }
  }
  return std::nullopt;
}

bool Slo::keeps(Figure figure, std::chrono::nanoseconds value) const {
  const auto at_most = limit(figure);
  return !at_most || value <= *at_most;
}

}  // namespace condensed::bench
