#include "clients/condensectl/exposition.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace condensed::ctl {

namespace {

/// Takes a line apart from its beginning.
class LineReader {
 public:
  explicit LineReader(std::string_view line) : line_(line), rest_(line) {}

  std::string_view until(std::string_view ends) {
    const std::string_view taken = rest_.substr(0, rest_.find_first_of(ends));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  bool take(char expected) {
    if (!rest_.starts_with(expected)) {
      return false;
    }
    rest_.remove_prefix(1);
    return true;
  }

  void need(char expected) {
    if (!take(expected)) {
      fail();
    }
  }

  /// What is between quotes.
  std::string quoted() {
    need('"');
    std::string out;
    while (!take('"')) {
      const bool escaped = take('\\');
      const char c = next();
      out += escaped && c == 'n' ? '\n' : c;
    }
    return out;
  }

  double number() {
    const std::string_view text = until(" ");  // a timestamp may follow
    double value = 0;
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      fail();
    }
    return value;
  }

 private:
  char next() {
    if (rest_.empty()) {
      fail();
    }
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  [[noreturn]] void fail() const {
    throw std::runtime_error("the daemon's metrics have a line that is no sample: " + std::string(line_));
  }

  std::string_view line_;
  std::string_view rest_;
};

bool has_all(const Exposition::Labels& labels, const Exposition::Labels& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    const auto found = labels.find(label.first);
    return found != labels.end() && found->second == label.second;
  });
}

double number_of(const std::string& text) {
  return LineReader(text).number();
}

}  // namespace

Histogram difference(const Histogram& later, const Histogram& earlier) {
  Histogram out = later;
  if (earlier.buckets.size() == later.buckets.size()) {
    for (std::size_t i = 0; i < out.buckets.size(); ++i) {
      out.buckets[i].count -= earlier.buckets[i].count;
    }
    out.sum -= earlier.sum;
  }
  return out;
}

std::optional<double> quantile(const Histogram& histogram, double q) {
  if (histogram.count() <= 0) {
    return std::nullopt;
  }
  const double rank = q * histogram.count();
  const auto bucket = std::find_if(histogram.buckets.begin(), histogram.buckets.end(),
                                   [&](const Histogram::Bucket& each) { return each.count >= rank; });
  const bool first = bucket == histogram.buckets.begin();
  const double lower = first ? 0 : std::prev(bucket)->bound;
  if (std::next(bucket) == histogram.buckets.end()) {
    return lower;
  }
  const double below = first ? 0 : std::prev(bucket)->count;
  const double inside = bucket->count - below;
  return inside <= 0 ? bucket->bound : lower + (bucket->bound - lower) * (rank - below) / inside;
}

std::optional<double> mean(const Histogram& histogram) {
  return histogram.count() > 0 ? std::optional(histogram.sum / histogram.count()) : std::nullopt;
}

Exposition::Exposition(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty() || line.starts_with('#')) {
      continue;
    }
    LineReader reader(line);
    const std::string name(reader.until("{ "));
    Sample sample;
    if (reader.take('{')) {
      while (!reader.take('}')) {
        const std::string label(reader.until("=}"));
        reader.need('=');
        sample.labels[label] = reader.quoted();
        reader.take(',');
      }
    }
    reader.need(' ');
    sample.value = reader.number();
    samples_.emplace(name, std::move(sample));
  }
}

double Exposition::sum(std::string_view name, const Labels& labels) const {
  double total = 0;
  const auto [begin, end] = samples_.equal_range(name);
  for (auto sample = begin; sample != end; ++sample) {
    total += has_all(sample->second.labels, labels) ? sample->second.value : 0;
  }
  return total;
}

Histogram Exposition::histogram(const std::string& name) const {
  std::map<double, double> counts;
  const auto [begin, end] = samples_.equal_range(name + "_bucket");
  for (auto sample = begin; sample != end; ++sample) {
    if (const auto bound = sample->second.labels.find("le"); bound != sample->second.labels.end()) {
      counts[number_of(bound->second)] += sample->second.value;
    }
  }
  Histogram out;
  for (const auto& [bound, count] : counts) {
    out.buckets.push_back({.bound = bound, .count = count});
  }
  out.sum = sum(name + "_sum");
  return out;
}

}  // namespace condensed::ctl
